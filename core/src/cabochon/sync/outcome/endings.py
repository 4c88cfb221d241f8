"""What follows when an update has ended: its log line, its report, and what is tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import structlog

from cabochon.contract.callback_reporter import Callback
from cabochon.contract.metrics import Metrics
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError, FetchError, StoreRejectedError
from cabochon.sync.bell import Bell
from cabochon.sync.engine.view import Dirty
from cabochon.sync.outcome.reports import EntryResult, PendingReport, Reporting
from cabochon.sync.rules.retry_book import Cause, FailedEntry, RetryBook
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update
from cabochon.transactions.records import TransactionRecord

__all__ = ["Caller", "Endings", "Reported"]

log = structlog.get_logger()

_DEFERRED_AT_MOST = 10_000


class Reported:
    """One report: for a live update, or for all entries of a base load together.

    It is sent when the last of its updates has ended; entries that failed then get one follow-up, when the last of
    them is settled.

    Attributes:
        on_ended: called at the end with the error or None, and again with None if all that failed is in force later.
        lost: whether an entry failed that is never tried again.
    """

    __slots__ = ("later", "lost", "on_ended", "open", "receivers", "results", "unsettled", "update_id")

    def __init__(
        self,
        update_id: str,
        updates: int,
        receivers: Sequence[Callback] = (),
        on_ended: Callable[[str | None], None] | None = None,
    ) -> None:
        self.update_id = update_id
        self.receivers = receivers
        self.open = updates
        self.on_ended = on_ended
        self.results: list[EntryResult] = []
        self.unsettled = 0
        self.lost = False
        self.later: list[EntryResult] = []


class Caller:
    """Someone who waits for the end of an update; `update` and `record` are there once `ended` is set."""

    __slots__ = ("ended", "record")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.record: TransactionRecord | None = None


class Endings:
    """Called by the committer, synchronously, for every update that ends; never waits."""

    def __init__(
        self,
        scheduler: Scheduler,
        book: RetryBook,
        reporting: Reporting,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        on_retries: Callable[[], None],
        observe: Callable[[Update, TransactionRecord], None] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.book = book
        self.reporting = reporting
        self.metrics = metrics
        self._clock = clock
        self._on_retries = on_retries
        self._observe = observe
        self._deferred: dict[object, tuple[Entry, Reported]] = {}
        self.under_way = 0
        self.bytes_under_way = 0
        self._room = Bell()
        metrics.gauge("updates.under_way", lambda: self.under_way)
        metrics.gauge("updates.waiting_for_retry", lambda: len(self.book))

    # ---------------------------------------------------------------------------------------------- bounded intake

    def started(self, update: Update) -> None:
        """Take note of an update that is under way from now on."""
        self.under_way += 1
        self.bytes_under_way += update.size_bytes

    def has_room(self, *, max_updates: int, max_bytes: int) -> bool:
        """Tell whether another update may be taken in."""
        return self.under_way < max_updates and self.bytes_under_way < max_bytes

    async def room(self, *, max_updates: int, max_bytes: int) -> None:
        """Wait until fewer updates are under way."""
        while not self.has_room(max_updates=max_updates, max_bytes=max_bytes):
            await self._room.answered()

    async def idle(self) -> None:
        """Wait until nothing is under way; entries that wait for a retry are not."""
        await self.room(max_updates=1, max_bytes=1)

    # -------------------------------------------------------------------------------------------------- the end

    def __call__(self, update: Update, record: TransactionRecord | None) -> None:
        """Deal with the end of `update`."""
        self._make_room(update)
        if record is not None:
            self._tell(update, record)
            if self._observe is not None:
                self._observe(update, record)
        if self.book:
            self._settle_older(update)
        context = update.context
        if isinstance(context, FailedEntry):
            self._tried_again(update, context)
        elif isinstance(context, Reported):
            self._report(update, context, None if record is None or record.success else record.error)
        elif isinstance(context, Caller):
            context.record = record
            context.ended.set()
        if record is not None and record.success:
            # An update and its entries point at each other: apart, their memory is free at once.
            update.entries = []

    def _make_room(self, update: Update) -> None:
        if update.kind is not Kind.RECORD:
            self.under_way -= 1
            self.bytes_under_way -= update.size_bytes
            self._room.ring()

    def _settle_older(self, update: Update) -> None:
        for entry in update.entries:
            if entry.replaces and entry.done:
                self._moot(self.book.landed(entry.path, update.origin))

    def _tell(self, update: Update, record: TransactionRecord) -> None:
        self.metrics.observe("transactions.duration", max(0.0, record.ended_at - record.created_at))
        if record.success:
            self.metrics.count("transactions.succeeded")
            log.info(
                "transaction.ended", update_id=record.id, number=record.number, actions=record.actions, success=True
            )
        else:
            self.metrics.count("transactions.failed")
            log.warning(
                "transaction.ended",
                update_id=record.id,
                number=record.number,
                actions=record.actions,
                success=False,
                type=record.transaction_type,
                kind=update.kind.name.lower(),
                error=record.error,
            )

    def _report(self, update: Update, reported: Reported, error: str | None) -> None:
        retries = False
        for entry in update.entries:
            if self.reporting.enabled and entry.spec is not None:
                reported.results.append(_result(entry))
            retries = self._follow(entry, reported) or retries
        reported.open -= 1
        if not reported.open:
            if reported.on_ended is not None:
                reported.on_ended(error)
            if self.reporting.enabled:
                self.reporting.submit(
                    PendingReport(update_id=reported.update_id, results=reported.results, receivers=reported.receivers)
                )
            reported.results = []
        if retries:
            self._on_retries()

    def _follow(self, entry: Entry, reported: Reported) -> bool:
        """See to it that an entry which is not in force gets there; tell whether it is to be tried again."""
        cause = _cause(entry)
        cover = None if cause is None else entry.covered_by
        if entry.state is EntryState.PUT_OFF or (cover is not None and cover.state is EntryState.PUT_OFF):
            self._defer(entry, reported)
        elif cause is not None and cover is None:
            reported.unsettled += 1
            failed = FailedEntry(entry, cause, entry.update.origin, reported)
            self._give_up(self.book.add(failed, self._clock(), retry_after_s=_retry_after(entry)))
            return True
        elif entry.error is not None:
            reported.lost = True
        return False

    def _tried_again(self, update: Update, failed: FailedEntry) -> None:
        entry = update.entries[0]
        if entry.state is EntryState.SAVED:
            self.book.settled(failed)
            for one in failed.everyone:
                self._settled(one.owner, _result(entry))
        elif entry.state is EntryState.PUT_OFF:
            self.book.settled(failed)
            for one in failed.everyone:
                one.owner.unsettled -= 1
                self._defer(entry, one.owner)
        elif entry.state is not EntryState.MOOT:
            failed.cause = _cause(entry) or failed.cause
            self.book.failed_again(failed, self._clock(), retry_after_s=_retry_after(entry))
            if failed.cause is not Cause.FETCH:
                failed.due_at = None
            self._on_retries()

    # ------------------------------------------------------------------------------------------------ follow-ups

    def _moot(self, moot: Sequence[FailedEntry]) -> None:
        """Something newer covers these: the try under way is dropped, and their publishers hear of it."""
        for failed in moot:
            if failed.trying is not None:
                self.scheduler.make_moot(failed.trying)
            for one in failed.everyone:
                entry = one.entry
                if entry.spec is not None:
                    self._settled(one.owner, EntryResult(entry.spec, entry.fetched, saved=True, raw=entry.raw))

    def _give_up(self, dropped: Sequence[FailedEntry]) -> None:
        for failed in dropped:
            failed.owner.unsettled -= 1
            failed.owner.lost = True
            self.metrics.count("retries.dropped")
            log.error("data_update.given_up", update_id=failed.entry.update.id, why="too many entries have failed")

    def _defer(self, entry: Entry, reported: Reported) -> None:
        reported.unsettled += 1
        # Without reports only the newest at a path counts, should the engine refuse it: it is tried again. With them,
        # one try may be that of several updates.
        key = (entry, reported) if self.reporting.enabled else entry.path
        if (older := self._deferred.pop(key, None)) is not None:
            older[1].unsettled -= 1
        elif len(self._deferred) >= _DEFERRED_AT_MOST:
            dropped, owner = self._deferred.pop(next(iter(self._deferred)))
            owner.unsettled -= 1
            owner.lost = True
            self.metrics.count("reports.follow_ups_dropped")
            log.warning("report.follow_up_dropped", update_id=dropped.update.id, why="too many wait for the engine")
        self._deferred[key] = (entry, reported)

    def restored(self, paths: Mapping[DocumentPath, Dirty]) -> None:
        """The engine is back and holds these paths: publishers of deferred updates get their follow-up."""
        deferred, self._deferred = self._deferred, {}
        for entry, owner in deferred.values():
            if entry.spec is not None:
                self._settled(owner, EntryResult(entry.spec, fetched=True, saved=True, raw=entry.raw))
        if paths:
            log.info("engine.restored", paths=len(paths))

    def refused(self, tops: Mapping[DocumentPath, StoreRejectedError]) -> None:
        """The engine is back and refuses what was put off around these paths: it counts as refused from now on."""
        for key, (entry, owner) in list(self._deferred.items()):
            error = next((error for top, error in tops.items() if top.overlaps(entry.path)), None)
            if error is None:
                continue
            del self._deferred[key]
            entry.refuse(error)
            self.metrics.count("writes.refused")
            log.warning("data_update.refused", update_id=entry.update.id, dst_path=str(entry.path), error=str(error))
            cause = Cause.REFUSED if entry.replaces else Cause.PATCH
            self._give_up(self.book.add(FailedEntry(entry, cause, entry.update.origin, owner), self._clock()))

    def _settled(self, owner: Reported, result: EntryResult) -> None:
        owner.unsettled -= 1
        if owner.unsettled <= 0 and not owner.lost and owner.on_ended is not None:
            owner.on_ended(None)
        if self.reporting.enabled:
            owner.later.append(result)
        if owner.unsettled <= 0 and owner.later:
            self.reporting.submit(
                PendingReport(
                    update_id=owner.update_id,
                    results=owner.later,
                    receivers=owner.receivers,
                    user_data={"follow_up": True},
                )
            )
            owner.later = []


def _result(entry: Entry) -> EntryResult:
    spec: Any = entry.spec
    return EntryResult(spec, entry.fetched, entry.saved_for_its_publisher, entry.raw)


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
