"""A small world for the production pipeline: a scripted source, scripted fetchers, an engine that fails on schedule."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import anyio.abc
import msgspec

from cabochon.contract.callback_reporter import Callback, CallbackReporter
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.transaction_listener import TransactionListener
from cabochon.contract.update_source import Connected, DataUpdateReceived, SourceEvent, UpdateSource
from cabochon.documents import json_values
from cabochon.documents.path import DocumentPath
from cabochon.errors import FetchError, ReportError, SourceError, StateLostError, StoreUnavailableError
from cabochon.schemas import (
    DataSourceConfig,
    DataSourceEntryWithPollingInterval,
    DataUpdate,
    DataUpdateReport,
    PolicyBundle,
    SaveMethod,
    UpdateCallback,
)
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.settings.core import CoreSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon.transactions.changes import Changes, Marker
from cabochon.transactions.commit_result import Applied, CommitResult
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.listener import MockHealthListener
from cabochon_mock_store.store import MockPolicyStore

from . import peek
from .virtual import BrokenPromiseError

REPORTS_TO = "rec://everyone"
TOPIC = "policy_data"
_NULL = msgspec.Raw(b"null")


# ---------------------------------------------------------------------------------------- what comes from outside


@dataclass(frozen=True, slots=True)
class Fetch:
    """How a URL answers: each of the first `failures` fetches fails, every fetch takes `delay_s`."""

    delay_s: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One entry of an update: what it writes where, and how its data comes (None: inline)."""

    path: str
    value: Any
    method: SaveMethod = "PUT"
    fetch: Fetch | None = None
    every_s: float | None = None

    def raw(self) -> bytes:
        return json_values.encode(self.value)


class ScriptedSource(UpdateSource):
    """Yields what the test emits."""

    def __init__(self, *, topics: Sequence[str] = (), has_policies: bool = False) -> None:
        self.topics = tuple(topics)
        self.has_policies = has_policies
        self.base = DataSourceConfig()
        self.base_delay_s = 0.0
        self.base_failures = 0
        self.bundle: PolicyBundle | None = None
        self.bundle_delay_s = 0.0
        self.bundles_asked: list[str | None] = []
        self._send, self._receive = anyio.create_memory_object_stream[SourceEvent](math.inf)

    def emit(self, event: SourceEvent) -> None:
        self._send.send_nowait(event)

    async def events(self) -> AsyncIterator[SourceEvent]:
        async for event in self._receive:
            yield event

    async def data_sources(self) -> DataSourceConfig:
        await anyio.sleep(self.base_delay_s)
        if self.base_failures:
            self.base_failures -= 1
            raise SourceError("the source does not know its data sources yet")
        return self.base

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del directories
        self.bundles_asked.append(base_hash)
        await anyio.sleep(self.bundle_delay_s)
        return self.bundle

    def close(self) -> None:
        self._send.close()
        self._receive.close()


class ReplayingSource(ScriptedSource):
    """A source that can replay: it remembers what was acknowledged."""

    acknowledged: list[object]

    async def acknowledge(self, position: object) -> None:
        self.acknowledged.append(position)


class ScriptedFetcher(Fetcher):
    """Answers as planned for each URL."""

    def __init__(self) -> None:
        self.plans: dict[str, tuple[Fetch, bytes]] = {}
        self.tries: dict[str, int] = {}

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        del config
        plan, raw = self.plans[url]
        self.tries[url] = tried = self.tries.get(url, 0) + 1
        await anyio.sleep(plan.delay_s)
        if tried <= plan.failures:
            raise FetchError("the source is not well", url=url)
        return raw


@dataclass(slots=True)
class Delivered:
    """A report that arrived, and when."""

    at: float
    report: DataUpdateReport

    @property
    def follow_up(self) -> bool:
        return bool(self.report.user_data.get("follow_up"))

    @property
    def saved(self) -> list[bool | None]:
        return [entry.saved for entry in self.report.reports]

    @property
    def fetched(self) -> list[bool | None]:
        return [entry.fetched for entry in self.report.reports]


class Recorder(CallbackReporter):
    """Keeps every report."""

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []
        self.failures = 0
        self.hangs = False

    async def report(self, report: bytes, callback: Callback) -> None:
        del callback
        if self.hangs:
            await anyio.sleep_forever()
        await anyio.sleep(0.001)
        if self.failures:
            self.failures -= 1
            raise ReportError("the receiver is not well")
        self.delivered.append(Delivered(anyio.current_time(), msgspec.json.decode(report, type=DataUpdateReport)))

    def of(self, update_id: str | None, *, follow_up: bool = False) -> list[Delivered]:
        return [one for one in self.delivered if one.report.update_id == update_id and one.follow_up is follow_up]


# ------------------------------------------------------------------------------------------------- the engine

FAULTS = (
    "empty_before",
    "empty_after",
    "lost_landed",
    "lost_not_landed",
    "lands_late",
    "unavailable",
    "raises_landed",
    "hangs_landed",
    "hangs_not_landed",
)
"""What may go wrong with one call of the store; see `ChaosStore`."""


CALLS_AT_MOST = 3_000
"""No scenario needs as many; a pipeline that goes round in circles does."""


class ChaosStore(MockPolicyStore):
    """A mock engine behind a connection on which anything may happen, by the number of the call.

    `latency_s` passes before and after a commit lands. `landed` is called at that very moment, with the changes and
    whether the core has given the commit up by then.
    """

    def __init__(
        self,
        engine: MockEngine,
        tasks: anyio.abc.TaskGroup,
        *,
        latency_s: float = 0.0,
        faults: Mapping[int, str] | None = None,
        landed: Callable[[Changes, bool], None] | None = None,
    ) -> None:
        super().__init__(engine)
        self.latency_s = latency_s
        self.faults = dict(faults or {})
        self.calls = 0
        self._tasks = tasks
        self._landed = landed

    async def commit(self, changes: Changes) -> CommitResult:
        fault = self._fault()
        await anyio.sleep(self.latency_s)
        if fault == "empty_before":
            self.engine.lose_state()
        if fault == "unavailable":
            raise StoreUnavailableError("no connection")
        if fault == "lands_late" and changes.guard is not None:
            self._tasks.start_soon(self._land_late, changes)
            return CommitResult.unknown(changes, StoreUnavailableError("the connection broke"))
        if fault in {"lost_not_landed", "hangs_not_landed"}:
            return await self._silence(changes, fault)
        result = await self._land(changes, late=False)
        if fault == "raises_landed":
            raise RuntimeError("the driver is broken")
        if fault in {"lost_landed", "hangs_landed"}:
            return await self._silence(changes, fault)
        await anyio.sleep(self.latency_s)
        if fault == "empty_after":
            self.engine.lose_state()
        try:
            await self.engine.answer()
        except StoreUnavailableError as err:
            return CommitResult.unknown(changes, err)
        return result

    async def _silence(self, changes: Changes, fault: str) -> CommitResult:
        if fault.startswith("hangs"):
            await anyio.sleep_forever()
        return CommitResult.unknown(changes, StoreUnavailableError("the answer was lost"))

    async def _land(self, changes: Changes, *, late: bool) -> CommitResult:
        result = await self.engine.commit(changes)
        # By its own answer: the engine's revision may have grown by a commit of the other lane meanwhile.
        landed = any(type(outcome) is Applied for outcome in (*result.outcomes, result.state))
        if landed and self._landed is not None:
            self._landed(changes, late)
        return result

    async def _land_late(self, changes: Changes) -> None:
        await anyio.sleep(0.05)
        try:
            await self._land(changes, late=True)
        except (StoreUnavailableError, StateLostError):
            return

    async def get_data(self, path: DocumentPath) -> bytes | None:
        await self._asked()
        return await super().get_data(path)

    async def read_marker(self) -> Marker | None:
        await self._asked()
        return await super().read_marker()

    async def restart_token(self) -> str:
        await self._asked()
        return await super().restart_token()

    async def owned_paths(self) -> Sequence[DocumentPath]:
        await self._asked()
        return await super().owned_paths()

    async def _asked(self) -> None:
        fault = self._fault()
        await anyio.sleep(self.latency_s)
        if fault in {"empty_before", "empty_after"}:
            self.engine.lose_state()
        if fault in {"unavailable", "lost_not_landed"}:
            raise StoreUnavailableError("no connection")

    def _fault(self) -> str | None:
        self.calls += 1
        if self.calls > CALLS_AT_MOST:
            raise BrokenPromiseError("the pipeline calls the store again and again, and gets nowhere")
        return self.faults.pop(self.calls, None)


# -------------------------------------------------------------------------------------------------- the world


def settings(**wanted: Any) -> CoreSettings:
    """Settings with short times."""
    defaults: dict[str, Any] = {
        "fetching_callback_timeout": timedelta(seconds=3),
        "data_updater_conn_retry": ConnRetryOptions(attempts=2, wait_time=timedelta(seconds=0.5)),
        "fetch_retry_max_wait": timedelta(seconds=5),
        "should_report_on_data_updates": True,
        "default_update_callbacks": UpdateCallback(callbacks=(REPORTS_TO,)),
    }
    return CoreSettings(**{**defaults, **wanted})


@dataclass(slots=True)
class World:
    """One life of an agent, and everything around it."""

    engine: MockEngine
    store: PolicyStore
    source: ScriptedSource
    pipeline: Pipeline
    fetcher: ScriptedFetcher
    recorder: Recorder
    tasks: anyio.abc.TaskGroup
    attempts: list[peek.Attempt] = field(default_factory=list[peek.Attempt])
    ended: anyio.Event = field(default_factory=anyio.Event)
    ended_at: float = math.nan
    sent: list[str] = field(default_factory=list[str])
    _urls: int = 0

    # ---------------------------------------------------------------------------------------- what happens in it

    def connect(self, *, resumed: bool = False) -> None:
        self.source.emit(Connected(resumed))

    def send(
        self, update_id: str, *plans: Plan, topics: Sequence[str] = (TOPIC,), position: object = None
    ) -> DataUpdate:
        """Publish an update on each of these topics."""
        update = DataUpdate(id=update_id, entries=tuple(self.entry(plan, topics) for plan in plans))
        self.publish(update, topics, position)
        return update

    def publish(self, update: DataUpdate, topics: Sequence[str] = (TOPIC,), position: object = None) -> None:
        for topic in topics:
            self.source.emit(DataUpdateReceived(update, topic, position))

    def base(self, *plans: Plan) -> None:
        """Make these the base data sources."""
        self.source.base = DataSourceConfig(entries=tuple(self.entry(plan, (TOPIC,)) for plan in plans))

    def entry(self, plan: Plan, topics: Sequence[str]) -> DataSourceEntryWithPollingInterval:
        url = ""
        data = msgspec.Raw(plan.raw())
        if plan.fetch is not None:
            self._urls += 1
            url = f"plan://{self._urls}"
            self.fetcher.plans[url] = (plan.fetch, plan.raw())
            data = _NULL
        return DataSourceEntryWithPollingInterval(
            url=url,
            dst_path=plan.path,
            save_method=plan.method,
            data=data,
            topics=tuple(topics),
            periodic_update_interval=plan.every_s,
        )

    # --------------------------------------------------------------------------------------- what is seen in it

    @property
    def health(self) -> dict[str, Any]:
        """The health document in the engine."""
        return self.engine.get("/system/opal", default={})

    def attempt(self, update_id: str) -> peek.Attempt:
        """Return the only attempt of an update."""
        (found,) = [attempt for attempt in self.attempts if attempt.id == update_id]
        return found

    async def until(self, true: Callable[[], bool], *, within_s: float = 60.0, step_s: float = 0.01) -> float:
        """Wait until something is true; return how long that took."""
        began = anyio.current_time()
        while not true():
            if anyio.current_time() - began > within_s:
                raise AssertionError(f"not within {within_s} s")
            await anyio.sleep(step_s)
        return anyio.current_time() - began

    async def settled(self, *, within_s: float = 90.0) -> None:
        """Wait until nothing is going on any more, for longer than a call of the store may take."""
        began = anyio.current_time()
        quiet = 0
        while quiet < 9:
            await anyio.sleep(1)
            going_on = peek.unsettled(self.pipeline)
            quiet = 0 if going_on else quiet + 1
            if anyio.current_time() - began > within_s:
                raise AssertionError(f"never settles: {going_on}")

    def stop(self) -> None:
        self.pipeline.stop()


StoreOf = Callable[[MockEngine, anyio.abc.TaskGroup], PolicyStore]


@asynccontextmanager
async def a_world(
    *,
    engine: MockEngine | None = None,
    store: StoreOf | None = None,
    source: ScriptedSource | None = None,
    seed: int = 0,
    listeners: Mapping[str, TransactionListener] | None = None,
    **wanted: Any,
) -> AsyncGenerator[World]:
    """Run a pipeline; it is stopped at the end."""
    engine = engine if engine is not None else MockEngine()
    source = source if source is not None else ScriptedSource()
    fetcher, recorder = ScriptedFetcher(), Recorder()
    async with anyio.create_task_group() as tasks:
        opened = store(engine, tasks) if store is not None else MockPolicyStore(engine)
        parts = PipelineParts(
            store=opened,
            source=source,
            fetchers_by_scheme={"plan": fetcher},
            listeners=listeners if listeners is not None else {"health": MockHealthListener()},
            reporters_by_scheme={"rec": recorder},
        )
        pipeline = Pipeline(parts, settings(**wanted), random=Random(seed), wall=anyio.current_time)  # noqa: S311
        world = World(engine, opened, source, pipeline, fetcher, recorder, tasks)
        peek.trace(pipeline, world.attempts.append)
        peek.trace_refusals(pipeline, world.attempts)
        try:
            await tasks.start(_live, world)
            yield world
            world.stop()
            await world.ended.wait()
        finally:
            source.close()
            tasks.cancel_scope.cancel()


async def _live(world: World, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    try:
        await world.pipeline.run(task_status=task_status)
    finally:
        world.ended_at = anyio.current_time()
        world.ended.set()
