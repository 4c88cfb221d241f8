"""Loads base data: when the source is met, when somebody asks, and at their intervals."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial

import anyio
import anyio.abc
import structlog

from cabochon.backoff import Backoff
from cabochon.errors import SourceError
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval
from cabochon.sync.engine.committer import Committer
from cabochon.sync.intake.data_updater import DataUpdater
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.sync.outcome.follow_ups import FollowUps, Reported
from cabochon.sync.outcome.reports import PendingReport, Reporting
from cabochon.sync.rules.update import Kind, Update
from cabochon.transactions.records import InitialSource

__all__ = ["BaseData"]

log = structlog.get_logger()

_SHORTEST_INTERVAL_S = 0.1


class BaseData:
    """What the source lists as its data sources; `connected` is called from the task that reads the source."""

    def __init__(
        self,
        calls: SourceCalls,
        updater: DataUpdater,
        follow_ups: FollowUps,
        reporting: Reporting,
        committer: Committer,
    ) -> None:
        self._calls = calls
        self._updater = updater
        self._follow_ups = follow_ups
        self._reporting = reporting
        self._committer = committer
        self._known_sources: DataSourceConfig | None = None
        self._sources_replaced = anyio.Event()
        self._tasks: anyio.abc.TaskGroup

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Ask again at the intervals of periodic sources, and for a list that could not be had, until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            await anyio.sleep_forever()

    async def connected(self, *, resumed: bool) -> None:
        """Load the base data: all of it, or what changed and what is periodic if nothing was missed.

        Its entries arrive before the source's next event is taken, so every live update is newer. If the list can't be
        had within the fetch deadline, live updates go on without it, and it is asked for in the background.
        """
        try:
            sources = await self._calls.data_sources()
        except SourceError as err:
            log.warning("data_sources.failed", error=str(err))
            self._tasks.start_soon(partial(self._load_later, resumed=resumed))
            return
        self._load(sources, resumed=resumed)

    async def refresh(self) -> None:
        """Load all base data again, as new arrivals.

        Raises:
            SourceError: the list of sources can't be had, or an operator has cut the agent off from its source.
        """
        self._load(await self._calls.data_sources(), resumed=False)

    async def _load_later(self, *, resumed: bool) -> None:
        backoff = Backoff(longest_s=30)
        tries = 0
        with self._calls.scope():
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
        mine = [spec for spec in sources.entries if self._updater.concerns(spec)]
        entries = [self._updater.entry(spec) for spec in mine]
        if known is None:
            first = self._updater.next_number
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
            self._updater.submit(update)
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
            if self._calls.disabled:
                await self._calls.enabled()
                continue
            name = uuid.uuid4().hex
            self._updater.submit(
                Update(name, [self._updater.entry(spec)], Kind.PERIODIC, ending=Reported(self._follow_ups, name, 1))
            )


def _comparable(spec: DataSourceEntryWithPollingInterval) -> tuple[object, ...]:
    return (spec.url, str(spec.config), spec.topics, spec.dst_path, spec.save_method, spec.inline)
