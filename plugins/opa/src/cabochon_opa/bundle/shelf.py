"""The archive on offer, those who wait for it, and what was heard of it: the state behind the bundle service."""

from __future__ import annotations

from collections.abc import Collection

import anyio

from cabochon_opa.bundle.archive import Archive
from cabochon_opa.bundle.status import Report

__all__ = ["BundleShelf"]

_NUDGE_S = 0.1
"""While a report is wanted, an OPA that has the archive already is answered this soon: each answer makes it report."""

_REPORT_S = 0.5
"""OPA fetches an archive that it refused again at once; its report, which makes us take it back, is given this long."""

_REPORTS = 32
"""Reports of so many instances of OPA are kept."""


class BundleShelf:
    """Hands out the archive by long polling, and keeps what every OPA reported last.

    Attributes:
        asked: how often the bundle was asked for.
        heard: how many reports there were.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.heard = 0
        self._archive: Archive | None = None
        self._fallback: Archive | None = None
        self._offers = 0
        self._report_wanted = False
        self._closed = False
        self._reports: dict[str, tuple[int, Report]] = {}
        self._first_served: int | None = None  # how many reports there were then
        self._last_served = (-1, 0.0)  # how many reports there were then, and when that was
        self._news = anyio.Event()

    # ------------------------------------------------------------------------------------------- the agent's side

    def offer(self, archive: Archive, *, fallback: Archive | None) -> None:
        """Put `archive` on offer and answer all who wait, also those who have it: that makes them report.

        Reports are wanted from now on, until `no_report_wanted`.

        Args:
            archive: what OPA shall have.
            fallback: what is on offer in its place once OPA refuses it; None to let who asks wait.
        """
        if self._archive is None or archive.revision != self._archive.revision:
            self._first_served = None
        self._archive, self._fallback = archive, fallback
        self._offers += 1
        self._report_wanted = True
        self._wake()

    def close(self) -> None:
        """Answer everybody, from now on at once: the service ends."""
        self._closed = True
        self._wake()

    def no_report_wanted(self) -> None:
        """Nobody waits for a report any more."""
        self._report_wanted = False

    @property
    def taken(self) -> bool:
        """Whether somebody has fetched what was offered last."""
        return self._first_served is not None

    def report_of(self, instance: str, *, after: int) -> Report | None:
        """Return the last report of one OPA, if there were more than `after` reports by then.

        Args:
            instance: its `labels.id`; "" for whichever reported last.
            after: what `heard` was.
        """
        if not instance:
            instance = next(reversed(self._reports), "")
        number, report = self._reports.get(instance, (0, None))
        return report if number > after else None

    def refusal(self, instance: str) -> Report | None:
        """Return why that OPA refuses what was offered last, None if it has not said so."""
        if self._first_served is None:
            return None
        report = self.report_of(instance, after=self._first_served)
        return report if report is not None and report.refused else None

    async def next_report(self, after: int, timeout_s: float) -> bool:
        """Wait until there are more reports than `after`; False if that takes longer than `timeout_s`."""
        with anyio.move_on_after(timeout_s):
            while self.heard <= after:
                await self._news.wait()
        return self.heard > after

    # --------------------------------------------------------------------------------------------------- OPA's side

    def note(self, report: Report) -> None:
        """Keep what an OPA said; it also repeats itself, whenever one of its plugins changes its state."""
        before = self._reports.get(report.instance)
        if before is not None and report.last_request and before[1].last_request == report.last_request:
            return
        self.heard += 1
        self._reports.pop(report.instance, None)
        self._reports[report.instance] = (self.heard, report)
        while len(self._reports) > _REPORTS:
            del self._reports[next(iter(self._reports))]
        if self.refusal(report.instance) is not None:
            self._archive = self._fallback
        self._wake()

    async def wait_for_news(self, known: Collection[str], wait_s: float) -> Archive | None:
        """Return the archive on offer, as soon as there is one that is not `known`.

        Args:
            known: etags that the asker has.
            wait_s: seconds to wait for it.

        Returns:
            None if there is none, or if the known one was offered again.
        """
        self.asked += 1
        arrived = anyio.current_time()
        offers = self._offers
        while True:
            archive, now = self._archive, anyio.current_time()
            until = arrived if self._closed else arrived + wait_s
            if archive is not None and archive.etag not in known:
                until = min(until, self._not_before())
                if now >= until:
                    self._served()
                    return archive
            elif self._offers != offers:
                return None
            elif self._report_wanted:
                until = min(until, arrived + _NUDGE_S)
            if now >= until:
                return None
            with anyio.move_on_after(until - now):
                await self._news.wait()

    def _not_before(self) -> float:
        heard, at = self._last_served
        return at + _REPORT_S if heard == self.heard else 0.0

    def _served(self) -> None:
        if self._first_served is None:
            self._first_served = self.heard
        self._last_served = (self.heard, anyio.current_time())

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()
