"""What is not in force when its update ends, and may be one day: it is tried again, and its publisher hears of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import structlog

from cabochon.contract.callback_reporter import Callback
from cabochon.contract.metrics import Metrics
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError, FetchError, StoreRejectedError
from cabochon.sync.bell import Bell
from cabochon.sync.outcome.refusals import Refusals
from cabochon.sync.outcome.reports import EntryResult, PendingReport, Reporting
from cabochon.sync.rules.retry_book import Cause, FailedEntry, RetryBook
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, EntryState, Update
from cabochon.transactions.records import TransactionRecord

__all__ = ["FollowUps", "Reported"]

log = structlog.get_logger()

_PUT_OFF_AT_MOST = 10_000


class Reported:
    """One report: for a live update, or for all entries of a base load together.

    It is sent when the last of its updates has ended; entries that failed then get one follow-up, when the last of
    them is settled.

    Attributes:
        update_id: as published.
    """

    __slots__ = (
        "_awaited",
        "_follow_ups",
        "_later",
        "_lost",
        "_on_ended",
        "_receivers",
        "_results",
        "_under_way",
        "update_id",
    )

    def __init__(
        self,
        follow_ups: FollowUps,
        update_id: str,
        updates: int,
        receivers: Sequence[Callback] = (),
        on_ended: Callable[[str | None], None] | None = None,
    ) -> None:
        """Report on so many `updates`.

        `on_ended` is called at the end with the error or None, and again with None if all that failed is in force
        later.
        """
        self.update_id = update_id
        self._follow_ups = follow_ups
        self._under_way = updates
        self._receivers = receivers
        self._on_ended = on_ended
        self._results: list[EntryResult] = []
        self._later: list[EntryResult] = []
        self._awaited = 0
        """Entries that are not in force and may be later."""
        self._lost = False
        """Whether an entry failed that is never tried again."""

    def ended(self, update: Update, record: TransactionRecord | None) -> None:
        """Take note of the end of one of its updates; the last one sends the report."""
        reporting = self._follow_ups.reporting
        for entry in update.entries:
            if reporting.enabled and entry.spec is not None:
                self._results.append(_result(entry))
            self._follow_ups.follow(entry, self)
        self._under_way -= 1
        if self._under_way:
            return
        if self._on_ended is not None:
            self._on_ended(None if record is None or record.success else record.error)
        if reporting.enabled:
            reporting.submit(PendingReport(update_id=self.update_id, results=self._results, receivers=self._receivers))
        self._results = []

    def wait_for_one(self) -> None:
        """Take note of an entry that is not in force and may be later."""
        self._awaited += 1

    def no_longer_wait_for_one(self) -> None:
        """Take note that another one stands for an entry that was waited for."""
        self._awaited -= 1

    def lose_one(self) -> None:
        """Take note of an entry that will never be in force."""
        self._lost = True

    def settle_one(self, result: EntryResult) -> None:
        """Take note of an entry that is in force after all, or covered by something newer; the last one is told."""
        reporting = self._follow_ups.reporting
        self._awaited -= 1
        if self._awaited <= 0 and not self._lost and self._on_ended is not None:
            self._on_ended(None)
        if reporting.enabled:
            self._later.append(result)
        if self._awaited <= 0 and self._later:
            reporting.submit(
                PendingReport(
                    update_id=self.update_id,
                    results=self._later,
                    receivers=self._receivers,
                    user_data={"follow_up": True},
                )
            )
            self._later = []


class FollowUps:
    """Sees to it that what is not in force gets there, or that its publisher hears why not.

    Attributes:
        scheduler: drops a try that is moot.
        book: what waits for another try.
        reporting: where reports go.
        metrics: counts what is given up.
        retries: rung when what is due, and when, has changed.

    `engine_back` is rung when the engine is back and holds what was put off.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        book: RetryBook[Reported],
        reporting: Reporting,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        engine_back: Bell,
    ) -> None:
        self.reporting = reporting
        self.retries = Bell()
        self.scheduler = scheduler
        self.book = book
        self.metrics = metrics
        self._refusals = Refusals(metrics)
        self._clock = clock
        self._engine_back = engine_back
        self._put_off = _PutOffEntries()

    def follow(self, entry: Entry, reported: Reported) -> None:
        """See to it that an entry which is not in force gets there."""
        cause = _cause(entry)
        cover = None if cause is None else entry.covered_by
        if entry.state is EntryState.PUT_OFF or (cover is not None and cover.state is EntryState.PUT_OFF):
            self._wait_for_the_engine(entry, reported)
        elif cause is not None and cover is None:
            reported.wait_for_one()
            self._enter(FailedEntry(entry, cause, entry.update.origin, reported), retry_after_s=_retry_after(entry))
            self.retries.ring()
        elif entry.failure is not None:
            reported.lose_one()

    def tried_again(self, entry: Entry, failed: FailedEntry[Reported]) -> None:
        """Take note of how another try of a failed entry went; nobody waits for one that was given up meanwhile."""
        if not failed.kept:
            return
        if entry.state is EntryState.SAVED:
            self.book.settled(failed)
            for one in failed.everyone:
                one.owner.settle_one(_result(entry))
        elif entry.state is EntryState.PUT_OFF:
            self.book.settled(failed)
            for one in failed.everyone:
                one.owner.no_longer_wait_for_one()
                self._wait_for_the_engine(entry, one.owner)
        elif entry.state is not EntryState.MOOT:
            failed.cause = _cause(entry) or failed.cause
            self.book.failed_again(failed, self._clock(), retry_after_s=_retry_after(entry))
            self.retries.ring()

    def settle_older(self, update: Update) -> None:
        """Drop what an update that has ended makes moot: the try under way, and whoever waits hears of it."""
        if not self.book:
            return
        for entry in update.entries:
            if entry.replaces and entry.done:
                self._make_moot(self.book.landed(entry.path, update.origin))

    def restored(self, paths: Collection[DocumentPath]) -> None:
        """The engine is back and holds these paths: publishers of what was put off get their follow-up."""
        put_off, self._put_off = self._put_off, _PutOffEntries()
        for entry, owner in put_off:
            if entry.spec is not None:
                owner.settle_one(EntryResult(entry.spec, fetched=True, saved=True, raw=entry.raw))
        if paths:
            log.info("engine.restored", paths=len(paths))
        self._engine_back.ring()

    def refused(self, tops: Mapping[DocumentPath, StoreRejectedError]) -> None:
        """The engine is back and refuses what was put off around these paths: it counts as refused from now on."""
        for entry, owner in list(self._put_off):
            error = next((error for top, error in tops.items() if top.overlaps(entry.path)), None)
            if error is None:
                continue
            self._put_off.remove(entry, owner)
            self._refusals.refuse(entry, error)
            cause = Cause.REFUSED if entry.replaces else Cause.PATCH
            self._enter(FailedEntry(entry, cause, entry.update.origin, owner))

    def _wait_for_the_engine(self, entry: Entry, reported: Reported) -> None:
        reported.wait_for_one()
        if (full := self._put_off.add(entry, reported)) is not None:
            dropped, owner = full
            owner.no_longer_wait_for_one()
            owner.lose_one()
            self.metrics.count("reports.follow_ups_dropped")
            log.warning("report.follow_up_dropped", update_id=dropped.update.id, why="too many wait for the engine")

    def _enter(self, failed: FailedEntry[Reported], *, retry_after_s: float | None = None) -> None:
        """Enter a failed entry into the book, and give up those that have to go for it."""
        for dropped in self.book.add(failed, self._clock(), retry_after_s=retry_after_s):
            for one in dropped.everyone:
                one.owner.no_longer_wait_for_one()
                one.owner.lose_one()
                self.metrics.count("retries.dropped")
                log.error("data_update.given_up", update_id=one.entry.update.id, why="too many entries have failed")

    def _make_moot(self, moot: Sequence[FailedEntry[Reported]]) -> None:
        for failed in moot:
            if failed.trying is not None:
                self.scheduler.make_moot(failed.trying)
            for one in failed.everyone:
                entry = one.entry
                if entry.spec is not None:
                    one.owner.settle_one(EntryResult(entry.spec, entry.fetched, saved=True, raw=entry.raw))


class _PutOffEntries:
    """Entries that wait for the engine, each with whom its end concerns; one try may be that of several updates."""

    def __init__(self) -> None:
        self._all: dict[tuple[Entry, Reported], None] = {}
        self._newest: dict[DocumentPath, tuple[Entry, Reported]] = {}
        self._older: dict[tuple[Entry, Reported], None] = {}
        """Those after which another came at the same path: they go first when there are too many."""

    def __iter__(self) -> Iterator[tuple[Entry, Reported]]:
        return iter(self._all)

    def add(self, entry: Entry, owner: Reported) -> tuple[Entry, Reported] | None:
        """Add one; return the one that has to go for it, if any."""
        one = (entry, owner)
        if (before := self._newest.get(entry.path)) is not None:
            self._older[before] = None
        self._all[one] = None
        self._newest[entry.path] = one
        if len(self._all) <= _PUT_OFF_AT_MOST:
            return None
        dropped = next(iter(self._older or self._all))
        self.remove(*dropped)
        return dropped

    def remove(self, entry: Entry, owner: Reported) -> None:
        """Take one out."""
        one = (entry, owner)
        del self._all[one]
        self._older.pop(one, None)
        if self._newest.get(entry.path) == one:
            del self._newest[entry.path]


def _result(entry: Entry) -> EntryResult:
    if entry.spec is None:
        msg = "only an entry that was published is reported"
        raise RuntimeError(msg)
    return EntryResult(entry.spec, entry.fetched, entry.saved_for_its_publisher, entry.raw)


def _cause(entry: Entry) -> Cause | None:
    if isinstance(entry.error, DocumentPathError):
        return None
    if entry.state is EntryState.FETCH_FAILED:
        return Cause.FETCH
    if entry.state is EntryState.REFUSED:
        return Cause.REFUSED if entry.replaces else Cause.PATCH
    return None


def _retry_after(entry: Entry) -> float | None:
    return entry.error.retry_after_s if isinstance(entry.error, FetchError) else None
