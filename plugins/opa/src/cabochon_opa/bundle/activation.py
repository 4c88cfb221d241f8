"""Publish an archive, and know that it is in force in the OPA that we write to, or why it is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import structlog

from cabochon.errors import StoreUnavailableError
from cabochon_opa.bundle.archive import Archive
from cabochon_opa.bundle.shelf import BundleShelf
from cabochon_opa.bundle.status import refusal_of
from cabochon_opa.client import RequestUnansweredError

__all__ = ["Activation", "Instance"]

log = structlog.get_logger()

Instance = Callable[[], Awaitable[str]]
"""Gives `labels.id` of the OPA that we write to, "" if it can't be known; raises StoreUnavailableError."""

_LOOK_AGAIN_S = 1.0
_HOW_TO = "docs/how-to/deliver-policies-by-bundle.md"


class Activation:
    """Brings one archive after the other into force.

    Args:
        shelf: where OPA takes them from.
        instance: which OPA has to confirm.
        timeout_s: seconds that OPA may take to fetch and compile.
        silence_s: seconds after which an OPA that does not ask at all is taken for one that is not configured to.
    """

    def __init__(
        self, shelf: BundleShelf, instance: Instance, *, timeout_s: float = 30.0, silence_s: float = 5.0
    ) -> None:
        self._shelf = shelf
        self._instance = instance
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._good: Archive | None = None
        self._confirmed: tuple[str, str] | None = None

    async def activate(self, archive: Archive) -> None:
        """Have OPA fetch `archive`, and return once OPA's status says that it is active; at once if it is already.

        Raises:
            StoreRejectedError: OPA refuses it; what was in force still is, and is on offer again.
            RequestUnansweredError: OPA has not confirmed it in time; it stays on offer.
            StoreUnavailableError: OPA does not answer at all; nothing was published.
        """
        instance = await self._instance()
        if instance and self._confirmed == (instance, archive.revision):
            return
        self._confirmed = None
        started = anyio.current_time()
        try:
            with anyio.move_on_after(self._timeout_s):
                instance = await self._published(archive, instance)
        finally:
            self._shelf.no_report_wanted()
        if self._confirmed is None:
            raise RequestUnansweredError(self._unconfirmed(instance))
        duration_s = round(anyio.current_time() - started, 3)
        log.info("bundle.activated", revision=archive.revision, roots=len(archive.roots), duration_s=duration_s)

    def forget(self) -> None:
        """OPA has lost what was in it: nothing is confirmed."""
        self._confirmed = None

    async def _published(self, archive: Archive, instance: str) -> str:
        """Return the instance that has confirmed, or the last one known if none asks for the archive."""
        shelf = self._shelf
        heard, asked = shelf.heard, shelf.asked
        silent_at = anyio.current_time() + self._silence_s
        look_again_at = anyio.current_time() + _LOOK_AGAIN_S
        shelf.offer(archive, fallback=self._good)
        while True:
            seen = shelf.heard
            report = shelf.report_of(instance, after=heard)
            if report is not None and report.active_revision == archive.revision:
                self._good = archive
                self._confirmed = (instance, archive.revision)
                return instance
            refused = shelf.refusal(instance)
            if refused is not None:
                if self._good is not None and refused.active_revision == self._good.revision:
                    self._confirmed = (instance, self._good.revision)
                raise refusal_of(refused)
            if anyio.current_time() >= silent_at and not shelf.taken and shelf.asked == asked:
                return instance
            # Reports keep coming, from whichever OPA asks: that must not keep us from looking which one it is.
            await shelf.next_report(seen, look_again_at - anyio.current_time())
            if anyio.current_time() >= look_again_at:
                instance = await self._current(instance)
                look_again_at = anyio.current_time() + _LOOK_AGAIN_S

    async def _current(self, instance: str) -> str:
        """Return the instance that answers now, for OPA may have been restarted; the last known if none does."""
        with anyio.move_on_after(_LOOK_AGAIN_S):
            try:
                return await self._instance()
            except StoreUnavailableError:
                await anyio.sleep(_LOOK_AGAIN_S)
        return instance

    def _unconfirmed(self, instance: str) -> str:
        report = self._shelf.report_of(instance, after=0)
        if report is None and not self._shelf.asked:
            return f"no OPA asks for the policy bundle: its configuration needs services, bundles and status, {_HOW_TO}"
        if report is None and self._shelf.report_of("", after=0) is not None:
            return f"another OPA than the one at OPAL_POLICY_STORE_URL asks for the policy bundle, {_HOW_TO}"
        if report is None:
            return f"OPA fetches the policy bundle and reports no status: its configuration needs status, {_HOW_TO}"
        return f"OPA has not confirmed the policy bundle in time; its last report: {report.message or 'no problem'}"
