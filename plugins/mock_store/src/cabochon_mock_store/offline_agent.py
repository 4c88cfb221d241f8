"""An agent for tests: the real pipeline on a mock engine, with nothing outside this process.

The pytest fixtures give it open; `open_offline_agent` opens it where there is no pytest, or another async runner.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from cabochon import DocumentPath, Plugins, TransactionListener, load_settings
from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent
from cabochon.contract.tracing import Tracer, UpdateTrace
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, DataUpdate, PolicyBundle, RegoModule
from cabochon.settings.core import CoreSettings
from cabochon.testing.in_process_source import InProcessSource
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord
from cabochon_mock_store import plugin as mock_store
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.outside_world import InMemoryWorld, ReceivedReport
from cabochon_mock_store.store import MockPolicyStore

__all__ = ["AsyncOfflineAgent", "open_offline_agent", "policy_bundle"]

PATIENCE_S = 5.0
_POLL_S = 0.001
_CALLBACK = "memory:reports"
_QUICK = {
    "OPAL_POLICY_STORE_TYPE": "MOCK",
    "OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "true",
    "OPAL_DEFAULT_UPDATE_CALLBACKS": _CALLBACK,
    "OPAL_DATA_UPDATER_CONN_RETRY": '{"attempts": 1, "wait_time": 0}',
    "OPAL_FETCH_RETRY_MAX_WAIT": "0.05",
    "OPAL_PROBE_INTERVAL": "0.05",
}


class Diary(TransactionListener, Tracer):
    """Keeps what has ended, each with its record: by then the trace has said whether it was a live update.

    Attributes:
        records: of every transaction, in order.
        live: how many live updates have ended, by their ids.
    """

    def __init__(self) -> None:
        self.records: list[TransactionRecord] = []
        self.live: Counter[str] = Counter()
        self._live_numbers: set[int] = set()

    def update_ended(self, trace: UpdateTrace) -> None:
        """Take note that the update with this number is a live one."""
        if trace.kind == "live":
            self._live_numbers.add(trace.number)

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        """Keep the record."""
        del log
        self.records.append(record)
        if record.number in self._live_numbers:
            self._live_numbers.discard(record.number)
            self.live[record.id] += 1


class AsyncOfflineAgent:
    """A running agent, its engine and its world. Documents go in and come out as plain Python values.

    Attributes:
        engine: the engine, to look into and to break: `fail_next`, `go_down`, `lose_state`, ...
        transactions: the record of every transaction that has ended, in order.
    """

    def __init__(self, engine: MockEngine, world: InMemoryWorld, source: InProcessSource, diary: Diary) -> None:
        self.engine = engine
        self.transactions = diary.records
        self._ended = diary.live
        self._world = world
        self._source = source
        self._published: Counter[str] = Counter()
        self._agent: Agent | None = None

    # ------------------------------------------------------------------------------------------------- publishing

    async def publish(self, path: str, data: Any, *, update_id: str | None = None) -> TransactionRecord:  # noqa: ANN401 - any JSON
        """Publish that the document at `path` is now `data`; return the record once the update has ended."""
        return await self.publish_update({"id": update_id, "entries": [{"url": "", "dst_path": path, "data": data}]})

    async def publish_patch(
        self, path: str, operations: Sequence[Mapping[str, Any]], *, update_id: str | None = None
    ) -> TransactionRecord:
        """Publish a JSON patch (RFC 6902) for the document at `path`; return the record once the update has ended."""
        entry = {"url": "", "dst_path": path, "save_method": "PATCH", "data": list(operations)}
        return await self.publish_update({"id": update_id, "entries": [entry]})

    async def publish_update(self, update: DataUpdate | Mapping[str, Any]) -> TransactionRecord:
        """Publish a whole update, as one or as its JSON object; return the record once it has ended.

        Raises:
            msgspec.ValidationError: the object is no data update.
            ValueError: it has no entries.
            TimeoutError: it does not end.
        """
        update_id = await self.send(update)
        return await self.wait_for(update_id)

    async def send(self, update: DataUpdate | Mapping[str, Any]) -> str:
        """Publish an update without waiting for it; return its id, for `wait_for`.

        Raises:
            msgspec.ValidationError: the object is no data update.
            ValueError: it has no entries.
        """
        if not isinstance(update, DataUpdate):
            update = msgspec.json.decode(json.dumps(dict(update)), type=DataUpdate)
        if not update.entries:
            raise ValueError("the update has no entries: there is nothing to wait for")
        update_id = update.id or f"update-{self._published.total() + 1}"
        self._published[update_id] += 1
        await self._source.publish(msgspec.structs.replace(update, id=update_id))
        return update_id

    async def change_policies(self, policies: Mapping[str, str]) -> None:
        """Publish other policies (Rego by path), and wait until they are applied or refused."""
        bundle = policy_bundle(policies)
        await self._source.change_policies(bundle)
        await self.until(lambda: any(one.id == bundle.hash for one in self.transactions), "the policies are applied")

    def serve(self, url: str, document: Any, *, fail_times: int = 0) -> str:  # noqa: ANN401 - any JSON
        """Let `url` (of any `memory:`, `http:` or `https:` source) answer with `document` from now on.

        Before that it fails `fail_times` times. Return the URL. A URL that is not served answers 404.
        """
        return self._world.serve(url, document, fail_times=fail_times)

    def refuse_reports(self, url: str = _CALLBACK, *, times: int = 1) -> None:
        """Let a callback refuse the next reports, which are then tried again."""
        self._world.refuse_reports(url, times=times)

    # ---------------------------------------------------------------------------------------------------- waiting

    async def wait_for(self, update_id: str) -> TransactionRecord:
        """Wait until every update published with this id has ended; return the last one's record.

        Raises:
            TimeoutError: it does not end.
        """
        expected = max(1, self._published[update_id])
        await self.until(lambda: self._ended[update_id] >= expected, f"the update {update_id} has ended")
        return next(one for one in reversed(self.transactions) if one.id == update_id)

    async def synced(self) -> None:
        """Wait until all that was published has ended, was reported, and is in the engine.

        Raises:
            TimeoutError: something of it does not come about; the message says what is out of sync.
        """
        await self.until(self._quiet, "everything is in sync")

    async def report_on(self, update_id: str, *, follow_up: bool = False) -> ReceivedReport:
        """Wait for the report on an update, or for its follow-up, and return it.

        Raises:
            TimeoutError: it does not come.
        """

        def found() -> list[ReceivedReport]:
            return [
                one for one in self._world.reports if (one.report.update_id, one.follow_up) == (update_id, follow_up)
            ]

        await self.until(lambda: bool(found()), f"the {'follow-up' if follow_up else 'report'} on {update_id} has come")
        return found()[-1]

    async def until(self, condition: Callable[[], bool], what: str = "", *, within_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it does not; the message has `what` and the agent's state.
        """
        with anyio.move_on_after(within_s):
            # What is waited for may be anything, so there is no event to wait for.
            while not condition():  # noqa: ASYNC110
                await anyio.sleep(_POLL_S)
            return
        raise TimeoutError(f"waited {within_s:g} s in vain until {what or 'a condition holds'}: {self._state()}")

    # ----------------------------------------------------------------------------------------------------- looking

    def document(self, path: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return what the engine holds at `path` as plain Python values, `default` if there is nothing."""
        raw = self.engine.raw(DocumentPath.parse(path))
        return default if raw is None else json.loads(raw)

    @property
    def policies(self) -> dict[str, str]:
        """The policies in the engine: source by path."""
        return self.engine.policies

    @property
    def reports(self) -> list[ReceivedReport]:
        """Every report delivered so far, to whichever callback."""
        return list(self._world.reports)

    @property
    def fetches(self) -> list[str]:
        """The URL of each fetch so far."""
        return list(self._world.fetches)

    @property
    def log(self) -> TransactionLog:
        """The transaction log: `ready`, `healthy`, `in_sync`, `out_of_sync`, counters and the last records."""
        return self._running.pipeline.log

    @property
    def health(self) -> dict[str, Any]:
        """The health document, as `GET /v1/data/system/opal` would show it."""
        return self.document("/system/opal", {})

    # --------------------------------------------------------------------------------------------------------- how

    @property
    def _running(self) -> Agent:
        if self._agent is None:
            raise RuntimeError("the agent is not running")
        return self._agent

    def started(self, agent: Agent) -> None:
        """Take note of the agent."""
        self._agent = agent

    def _quiet(self) -> bool:
        log = self.log
        metrics = self._running.pipeline.metrics.snapshot()
        return (
            self._ended == self._published
            and log.ready
            and log.in_sync
            and not metrics["updates.under_way"]
            and not metrics["reports.waiting"]
        )

    def _state(self) -> str:
        log = self.log
        waiting = [f"{path}: {why.reason}" for path, why in log.out_of_sync.items()]
        failed = [f"{one.id}: {one.error}" for one in self.transactions if not one.success]
        return (
            f"ready is {log.ready}, healthy is {log.healthy}; "
            f"out of sync: {'; '.join(waiting) or 'nothing'}; failed: {'; '.join(failed) or 'nothing'}"
        )


@asynccontextmanager
async def open_offline_agent(
    *,
    base_data: Mapping[str, Any] | None = None,
    policies: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    plugins: Sequence[tuple[str, object]] = (),
    engine: MockEngine | None = None,
) -> AsyncGenerator[AsyncOfflineAgent]:
    """Run an agent, and yield it once it is ready.

    Args:
        base_data: documents by path, each fetched from a data source of its own, `memory:` and the path.
        policies: Rego by path; None for an agent without policies.
        settings: `OPAL_...` variables; nothing is read from the environment.
        plugins: short names and modules (or objects) of plugins to load beside the mock store.
        engine: the engine to use, so that one agent can meet what another has left.

    Raises:
        TimeoutError: it does not become ready.
    """
    environ = {**_QUICK, **(settings or {})}
    world = InMemoryWorld()
    entries = tuple(
        DataSourceEntryWithPollingInterval(url=world.serve(f"memory:{path}", document), dst_path=path)
        for path, document in (base_data or {}).items()
    )
    source = InProcessSource(
        base_data=DataSourceConfig(entries=entries), bundle=None if policies is None else policy_bundle(policies)
    )
    engine = MockEngine() if engine is None else engine
    diary = Diary()
    offline = AsyncOfflineAgent(engine, world, source, diary)
    loaded = Plugins.of(("mock-store", mock_store), ("in-memory", world), *plugins)
    async with (
        open_agent(
            loaded,
            load_settings(CoreSettings, environ),
            environ=environ,
            store=MockPolicyStore(engine),
            source=source,
            listeners={"diary": diary},
        ) as agent,
        anyio.create_task_group() as tasks,
    ):
        offline.started(agent)
        with agent.context.traces.sent_to(diary):
            await tasks.start(agent.run)
            await offline.until(lambda: offline.log.ready, "the agent is ready")
            yield offline
        agent.stop()


def policy_bundle(policies: Mapping[str, str]) -> PolicyBundle:
    """Make a bundle of policies, its hash made of their text."""
    modules = tuple(RegoModule(path=path, package_name="", rego=rego) for path, rego in policies.items())
    digest = hashlib.sha256(json.dumps(dict(policies)).encode()).hexdigest()
    return PolicyBundle(manifest=tuple(policies), hash=digest, data_modules=(), policy_modules=modules)
