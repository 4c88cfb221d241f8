"""Fetch entries side by side, within bounds: which fetcher, how many at once, how often, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Self

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.metrics import Metrics
from cabochon.documents import json_patch, json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import JsonError
from cabochon.documents.off_loop import off_loop
from cabochon.errors import FetchDecodeError, FetchError, FetchTimeoutError
from cabochon.schemas import DataSourceEntry
from cabochon.settings.core import CoreSettings
from cabochon.settings.fetch_providers import no_fetcher
from cabochon.sync.intake.fetch_turns import Turns
from cabochon.sync.rules.failure_budget import FailureBudget
from cabochon.urls import host_of, masked_url

__all__ = ["FetchOptions", "FetchPool", "Fetched"]

log = structlog.get_logger()

_FOR_RETRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How much is fetched at once, and how often one fetch is tried before its deadline.

    Attributes:
        side_by_side: fetches at once.
        attempts: tries of one fetch.
        backoff: how long to wait between two of them.
        budget: how often what failed may be tried again, all fetches together.
    """

    side_by_side: int = 6
    attempts: int = 5
    backoff: Backoff
    budget: FailureBudget = field(default_factory=lambda: FailureBudget(50))

    @classmethod
    def of(cls, settings: CoreSettings, random: Random) -> Self:
        """Take the settings; `random` is where the jitter comes from."""
        retry = settings.data_updater_conn_retry
        first_s, longest_s = retry.wait_time.total_seconds(), retry.longest_wait.total_seconds()
        return cls(
            side_by_side=settings.fetching_worker_count,
            attempts=retry.attempts,
            backoff=Backoff(first_s=first_s, longest_s=longest_s, random=random),
            budget=FailureBudget(settings.fetch_retries_per_second),
        )

    @property
    def retries_side_by_side(self) -> int:
        """How many fetches at once may be tries of what has failed before: the rest is for what is new."""
        return max(1, self.side_by_side // _FOR_RETRIES)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: raw JSON, and its operations where a JSON patch was asked for."""

    raw: bytes
    operations: tuple[PatchOperation, ...] = ()


class FetchPool:
    """The fetchers of one agent, by name (aliases included) and by URL scheme, names in lower case."""

    def __init__(
        self,
        by_name: Mapping[str, Fetcher],
        by_scheme: Mapping[str, Fetcher],
        *,
        options: FetchOptions,
        metrics: Metrics,
    ) -> None:
        self._by_name = by_name
        self._by_scheme = by_scheme
        self._options = options
        self._turns = Turns(options.side_by_side)
        self._metrics = metrics
        metrics.gauge("fetches.running", lambda: self._turns.taken)

    async def fetch(self, spec: DataSourceEntry, deadline: float) -> Fetched:
        """Fetch an entry's data, trying again while that may help and time is left.

        Args:
            spec: the entry.
            deadline: on the clock of `anyio.current_time`.

        Raises:
            FetchError: why it can't be had; `FetchTimeoutError` at the deadline.
        """
        fetcher = self._choose(spec)
        last: FetchError | None = None
        with anyio.CancelScope(deadline=deadline):
            for attempt in range(1, self._options.attempts + 1):
                try:
                    return await _checked(spec, await self._once(fetcher, spec))
                except FetchError as err:
                    last = err
                except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a fetcher raises is the fetcher's
                    why = f"{type(fetcher).__name__} failed with {type(err).__name__}: {err}"
                    last = FetchError(f"{masked_url(spec.url)}: {why}", url=masked_url(spec.url))
                self._metrics.count("fetches.failed")
                now = anyio.current_time()
                self._options.budget.failed(now)
                wait = self._options.backoff.wait_s(attempt, at_least_s=last.retry_after_s)
                if not last.again or attempt == self._options.attempts or now + wait >= deadline:
                    raise last
                if self._options.budget.has_one_in_s(now):
                    # So much fails that this has to wait in the retry book.
                    raise last
                log.debug(
                    "fetch.retried", url=masked_url(spec.url), attempt=attempt, wait_s=round(wait, 3), error=str(last)
                )
                await anyio.sleep(wait)
        # Only the deadline leads here: the loop returns or raises.
        self._metrics.count("fetches.failed")
        self._options.budget.failed(anyio.current_time())
        why = f" (before that: {last})" if last is not None else ""
        msg = f"{masked_url(spec.url)} did not answer before the deadline of the update{why}"
        raise FetchTimeoutError(msg, url=masked_url(spec.url))

    async def _once(self, fetcher: Fetcher, spec: DataSourceEntry) -> bytes:
        async with self._turns.one(host_of(spec.url)) as turn:
            started = anyio.current_time()
            try:
                raw = await fetcher.fetch(spec.url, spec.config or {})
            except Exception as err:
                turn.well = isinstance(err, FetchError) and not err.again
                raise
            turn.well = True
            self._metrics.observe("fetches.duration", anyio.current_time() - started)
            return raw

    def _choose(self, spec: DataSourceEntry) -> Fetcher:
        named = (spec.config or {}).get("fetcher")
        if named:
            fetcher = self._by_name.get(str(named).lower())
            if fetcher is None:
                msg = no_fetcher(str(named), sorted(self._by_name))
                raise FetchError(msg, url=masked_url(spec.url), again=False)
            return fetcher
        scheme, colon, _ = spec.url.partition(":")
        fetcher = self._by_scheme.get(scheme.lower()) if colon else None
        if fetcher is None:
            what = f"its URL {masked_url(spec.url)!r}" if spec.url else "an entry with neither data nor url"
            msg = f"no fetcher is installed for {what}; known schemes: {', '.join(sorted(self._by_scheme)) or 'none'}"
            raise FetchError(msg, url=masked_url(spec.url), again=False)
        return fetcher


async def _checked(spec: DataSourceEntry, raw: bytes) -> Fetched:
    try:
        value = await off_loop(json_values.check, raw)
        operations = json_patch.parse(value) if spec.save_method == "PATCH" else ()
    except JsonError as err:
        msg = f"{masked_url(spec.url)} gave {len(raw)} bytes that can't be used: {err}"
        # A maintenance page, say: the next try may find the document.
        raise FetchDecodeError(msg, url=masked_url(spec.url), again=True) from err
    return Fetched(value, operations)
