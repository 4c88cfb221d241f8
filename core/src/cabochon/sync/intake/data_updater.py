"""The data half of the agent: takes updates in, has them fetched and scheduled, tries again what failed."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
import anyio.abc
import structlog
from anyio.lowlevel import checkpoint

from cabochon.backoff import Backoff
from cabochon.contract.update_source import DataUpdateReceived
from cabochon.documents import json_patch, json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError, FetchError, SourceError, StoreRejectedError
from cabochon.schemas import DataSourceConfig, DataSourceEntry, DataSourceEntryWithPollingInterval
from cabochon.sync.engine.committer import Committer
from cabochon.sync.intake.acknowledgements import Acknowledgements
from cabochon.sync.intake.fetching import FetchPool
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.sync.outcome.follow_ups import FollowUps, Reported, Retry
from cabochon.sync.outcome.reports import PendingReport
from cabochon.sync.outcome.under_way import UnderWay
from cabochon.sync.rules.duplicates_filter import DuplicatesFilter
from cabochon.sync.rules.retry_book import FailedEntry
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update
from cabochon.transactions.records import InitialSource

__all__ = ["DataLimits", "DataUpdater"]

log = structlog.get_logger()

_YIELD_EVERY = 256
_LONGEST_DEADLINES = 6
_SHORTEST_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLimits:
    """What is under way at most, and how long fetches may take."""

    max_updates: int = 10_000
    max_bytes: int = 256 * 1024 * 1024
    fetch_timeout_s: float = 10.0


class DataUpdater:
    """One for each agent; `receive` and `connected` are called from the task that reads the source."""

    def __init__(
        self,
        calls: SourceCalls,
        follow_ups: FollowUps,
        under_way: UnderWay,
        committer: Committer,
        fetches: FetchPool,
        tasks: anyio.abc.TaskGroup,
        *,
        limits: DataLimits,
        wall: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._follow_ups = follow_ups
        self._under_way = under_way
        self._scheduler = follow_ups.scheduler
        self._reporting = follow_ups.reporting
        self._book = follow_ups.book
        self._retries = follow_ups.retries
        self._metrics = follow_ups.metrics
        self._committer = committer
        self._fetches = fetches
        self._tasks = tasks
        self._limits = limits
        self._wall = wall
        self._connectivity = calls.connectivity
        self._topics = frozenset(calls.source.topics)
        self._copies = DuplicatesFilter() if len(self._topics) > 1 else None
        self._known_sources: DataSourceConfig | None = None
        self._sources_replaced = anyio.Event()
        self._since_yield = 0
        self._acknowledgements = Acknowledgements(calls.source)

    # ---------------------------------------------------------------------------------------------- live updates

    async def receive(self, event: DataUpdateReceived) -> None:
        """Take a live update in; waits while too much is under way."""
        ended = self._acknowledgements.expect(event.position)
        if self._copies is not None and self._copies.is_copy(event.update, event.topic):
            self._metrics.count("updates.copies")
            ended(None)
            return
        if not self._under_way.has_room(max_updates=self._limits.max_updates, max_bytes=self._limits.max_bytes):
            await self._under_way.room(max_updates=self._limits.max_updates, max_bytes=self._limits.max_bytes)
        update = event.update
        name = update.id or uuid.uuid4().hex
        entries = [self._entry(spec) for spec in update.entries if self._concerns(spec)]
        receivers = self._reporting.receivers(update.callback) if update.callback.callbacks else ()
        log.debug("data_update.received", update_id=name, topic=event.topic, entries=len(entries))
        if not entries:
            log.debug("data_update.not_for_this_agent", update_id=name)
            self._reporting.submit(PendingReport(update_id=name, receivers=receivers))
            ended(None)
            return
        self.submit(Update(name, entries, ending=Reported(self._follow_ups, name, 1, receivers, ended)))
        self._since_yield += 1
        if self._since_yield >= _YIELD_EVERY:
            self._since_yield = 0
            await checkpoint()

    def submit(self, update: Update, *, deadlines: int = 1) -> None:
        """Let an update arrive; whatever of it must be fetched is fetched from now on."""
        update.arrived_at = self._wall()
        for entry in update.entries:
            if entry.raw is not None:
                update.size_bytes += len(entry.raw)
        self._under_way.started(update)
        self._scheduler.arrive(update)
        for entry in update.entries:
            if entry.state is EntryState.FETCHING:
                if not update.deadline:
                    update.deadline = anyio.current_time() + self._limits.fetch_timeout_s * deadlines
                self._tasks.start_soon(self._fetch, entry)
        self._committer.notify()

    def _concerns(self, spec: DataSourceEntry) -> bool:
        return not self._topics or not self._topics.isdisjoint(spec.topics)

    def _entry(self, spec: DataSourceEntry) -> Entry:
        try:
            path = DocumentPath.parse(spec.dst_path)
        except DocumentPathError as err:
            return self._unusable(Entry(DocumentPath(), spec.save_method, spec), err)
        entry = Entry(path, spec.save_method, spec)
        raw = spec.inline
        if raw is None:
            return entry
        try:
            # A source has parsed the frame, so it is JSON; what is inside its strings may still be no text.
            json_values.check_text(raw)
            return entry.ready(raw, json_patch.parse(raw) if spec.save_method == "PATCH" else ())
        except JsonError as err:
            entry.fetched, entry.raw = True, raw
            return self._unusable(entry, StoreRejectedError(str(err), path=spec.dst_path))

    def _unusable(self, entry: Entry, error: Exception) -> Entry:
        entry.refuse(error)
        self._metrics.count("writes.refused")
        log.warning("data_update.unusable", dst_path=entry.spec.dst_path if entry.spec else "", error=str(error))
        return entry

    async def _fetch(self, entry: Entry) -> None:
        spec = entry.spec
        if spec is None:
            msg = "only an entry that came from somewhere can be fetched"
            raise RuntimeError(msg)
        began = self._wall()
        try:
            fetched = await self._fetches.fetch(spec, entry.update.deadline)
        except FetchError as err:
            log.warning("fetch.failed", update_id=entry.update.id, dst_path=spec.dst_path, error=str(err))
            self._scheduler.failed(entry, err)
        else:
            log.debug("fetch.succeeded", update_id=entry.update.id, dst_path=spec.dst_path, bytes=len(fetched.raw))
            self._scheduler.fetched(entry, fetched.raw, fetched.operations)
        finally:
            entry.fetch_times = (began, self._wall())
        self._committer.notify()

    # ------------------------------------------------------------------------------------------------- base data

    async def connected(self, *, resumed: bool) -> None:
        """Load the base data: all of it, or what changed and what is periodic if nothing was missed.

        Its entries arrive before the source's next event is taken, so every live update is newer. If the list can't be
        had within the fetch deadline, live updates go on without it, and it is asked for in the background.
        """
        try:
            sources = await self._calls.data_sources()
        except SourceError as err:
            log.warning("data_sources.failed", error=str(err))
            self._tasks.start_soon(self._load_later, resumed)
            return
        self._load(sources, resumed=resumed)

    async def refresh(self) -> None:
        """Load all base data again, as new arrivals.

        Raises:
            SourceError: the list of sources can't be had, or an operator has cut the agent off from its source.
        """
        self._load(await self._calls.data_sources(), resumed=False)

    async def _load_later(self, resumed: bool) -> None:  # noqa: FBT001 - a task's argument
        backoff = Backoff(longest_s=30)
        tries = 0
        with self._connectivity.scope():
            while True:
                tries += 1
                await anyio.sleep(backoff.wait_s(tries))
                try:
                    sources = await self._calls.data_sources()
                except SourceError as err:
                    log.warning("data_sources.failed", attempt=tries, error=str(err))
                    continue
                self._load(sources, resumed=resumed)
                return

    def _load(self, sources: DataSourceConfig, *, resumed: bool) -> None:
        known = self._known_sources
        mine = [spec for spec in sources.entries if self._concerns(spec)]
        entries = [self._entry(spec) for spec in mine]
        if known is None:
            first = self._scheduler.last_number + 1
            initial = {key: InitialSource(entry.path, first + key) for key, entry in enumerate(entries)}
            self._committer.change_log(lambda now: now.with_sources(initial))
        self._known_sources = sources
        wanted = list(range(len(mine)))
        if resumed and known is not None:
            before = [_comparable(spec) for spec in known.entries]
            wanted = [
                key
                for key in wanted
                if mine[key].periodic_update_interval is not None or _comparable(mine[key]) not in before
            ]
        name = uuid.uuid4().hex
        reported = Reported(self._follow_ups, name, len(wanted))
        log.info("base_data.loading", update_id=name, entries=len(wanted))
        for key in wanted:
            update = Update(name, [entries[key]], Kind.BASE, ending=reported)
            update.source = key
            self.submit(update)
        if not wanted:
            self._reporting.submit(PendingReport(update_id=name))
        self._poll(mine)

    def _poll(self, specs: Sequence[DataSourceEntryWithPollingInterval]) -> None:
        self._sources_replaced.set()
        self._sources_replaced = replaced = anyio.Event()
        for spec in specs:
            if spec.periodic_update_interval is not None:
                self._tasks.start_soon(self._fetch_again, spec, spec.periodic_update_interval, replaced)

    async def _fetch_again(
        self, spec: DataSourceEntryWithPollingInterval, interval_s: float, replaced: anyio.Event
    ) -> None:
        while True:
            with anyio.move_on_after(max(interval_s, _SHORTEST_INTERVAL_S)):
                await replaced.wait()
                return
            if self._connectivity.disabled:
                await self._connectivity.enabled()
                continue
            name = uuid.uuid4().hex
            self.submit(Update(name, [self._entry(spec)], Kind.PERIODIC, ending=Reported(self._follow_ups, name, 1)))

    # --------------------------------------------------------------------------------------------------- retries

    def policies_changed(self) -> None:
        """Try refused writes again: a policy may have been in their way."""
        self._book.policies_changed(anyio.current_time())
        self._retries.ring()

    async def run(self) -> None:
        """Try failed entries again when they are due, and acknowledge what has ended, until cancelled."""
        self._tasks.start_soon(self._acknowledgements.run)
        while True:
            await self._connectivity.enabled()
            now = anyio.current_time()
            for failed in self._book.due(now):
                self._try_again(failed)
            due_at = self._book.next_due_at()
            await self._retries.answered(within_s=math.inf if due_at is None else max(0.0, due_at - now))

    def _try_again(self, failed: FailedEntry[Reported]) -> None:
        spec = failed.entry.spec
        if spec is None:
            return
        entry = self._entry(spec)
        failed.trying = entry
        update = Update(failed.owner.update_id, [entry], Kind.RETRY, ending=Retry(self._follow_ups, failed))
        update.origin = failed.origin
        update.source = failed.entry.update.source
        log.info("data_update.retried", update_id=update.id, dst_path=spec.dst_path, attempt=failed.tries + 1)
        self.submit(update, deadlines=min(failed.tries + 1, _LONGEST_DEADLINES))


def _comparable(spec: DataSourceEntryWithPollingInterval) -> tuple[object, ...]:
    return (spec.url, str(spec.config), spec.topics, spec.dst_path, spec.save_method, spec.inline)
