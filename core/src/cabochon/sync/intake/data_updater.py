"""Takes data updates in, and has them fetched and scheduled."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Self

import anyio
import anyio.abc
import structlog
from anyio.lowlevel import checkpoint

from cabochon.contract.update_source import DataUpdateReceived, UpdateSource
from cabochon.documents import json_patch, json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError, FetchError, StoreRejectedError
from cabochon.schemas import DataSourceEntry
from cabochon.settings.core import CoreSettings
from cabochon.sync.intake.acknowledgements import Acknowledgements
from cabochon.sync.intake.arrivals import Arrivals
from cabochon.sync.intake.fetching import FetchPool
from cabochon.sync.outcome.follow_ups import FollowUps, Reported
from cabochon.sync.outcome.instruments import Instruments
from cabochon.sync.outcome.reports import PendingReport, Reporting
from cabochon.sync.rules.duplicates_filter import DuplicatesFilter
from cabochon.sync.rules.update import Entry, EntryState, Update

__all__ = ["DataLimits", "DataUpdater"]

log = structlog.get_logger()

_YIELD_EVERY = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLimits:
    """What is under way at most, and how long fetches may take."""

    max_updates: int = 10_000
    max_bytes: int = 256 * 1024 * 1024
    fetch_timeout_s: float = 10.0

    @classmethod
    def of(cls, settings: CoreSettings) -> Self:
        """Take the settings."""
        return cls(
            max_updates=settings.pipeline_max_updates,
            max_bytes=settings.pipeline_max_bytes,
            fetch_timeout_s=settings.fetching_callback_timeout.total_seconds(),
        )


class DataUpdater:
    """One for each agent: every update that is to reach the engine arrives here. It works only while `run` does."""

    def __init__(
        self,
        source: UpdateSource,
        arrivals: Arrivals,
        follow_ups: FollowUps,
        reporting: Reporting,
        fetches: FetchPool,
        *,
        limits: DataLimits,
        instruments: Instruments,
    ) -> None:
        self._arrivals = arrivals
        self._follow_ups = follow_ups
        self._reporting = reporting
        self._metrics = instruments.metrics
        self._fetches = fetches
        self._limits = limits
        self._wall = instruments.wall
        self._topics = frozenset(source.topics)
        self._copies = DuplicatesFilter() if len(self._topics) > 1 else None
        self._since_yield = 0
        self._acknowledgements = Acknowledgements(source)
        self._tasks: anyio.abc.TaskGroup

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Fetch what arrives, until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            await anyio.sleep_forever()

    async def acknowledge(self) -> None:
        """Tell the source what has ended, until cancelled."""
        await self._acknowledgements.run()

    @property
    def next_number(self) -> int:
        """The number that the next update gets."""
        return self._arrivals.next_number

    async def receive(self, event: DataUpdateReceived) -> None:
        """Take a live update in; waits while too much is under way."""
        ended = self._acknowledgements.expect(event.position)
        if self._copies is not None and self._copies.is_copy(event.update, event.topic):
            self._metrics.count("updates.copies")
            ended(None)
            return
        if not self._arrivals.has_room(max_updates=self._limits.max_updates, max_bytes=self._limits.max_bytes):
            await self._arrivals.room(max_updates=self._limits.max_updates, max_bytes=self._limits.max_bytes)
        update = event.update
        name = update.id or uuid.uuid4().hex
        entries = [self.entry(spec) for spec in update.entries if self.concerns(spec)]
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
        self._arrivals.arrive(update)
        for entry in update.entries:
            if entry.state is EntryState.FETCHING:
                if not update.deadline:
                    update.deadline = anyio.current_time() + self._limits.fetch_timeout_s * deadlines
                self._tasks.start_soon(self._fetch, entry)

    def concerns(self, spec: DataSourceEntry) -> bool:
        """Tell whether an entry is under one of this agent's topics."""
        return not self._topics or not self._topics.isdisjoint(spec.topics)

    def entry(self, spec: DataSourceEntry) -> Entry:
        """Make an entry of what was published: ready if its data came with it, refused if it can't be used."""
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
            self._arrivals.failed(entry, err)
        else:
            log.debug("fetch.succeeded", update_id=entry.update.id, dst_path=spec.dst_path, bytes=len(fetched.raw))
            self._arrivals.fetched(entry, fetched.raw, fetched.operations)
        finally:
            entry.fetch_times = (began, self._wall())
