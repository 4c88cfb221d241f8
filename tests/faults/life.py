"""A whole agent on a real OPA, under load, watched from outside; and the questions that every fault test asks."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import anyio.abc
import httpx
import msgspec
from structlog.testing import capture_logs

import cabochon_opa.plugin as opa_plugin
from cabochon import (
    Callback,
    CallbackReporter,
    CallbackReporterType,
    DataUpdateReceived,
    Plugins,
    SourceEvent,
    hookimpl,
)
from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent
from cabochon.contract.tracing import Tracer, UpdateTrace
from cabochon.settings.core import CoreSettings
from cabochon.testing.in_process_source import InProcessSource
from cabochon.testing.own_time import own_time

from .load import Load, policy_bundle
from .own_time import OwnTime
from .watcher import Sample, Watcher

__all__ = ["FOUND_WITHIN_S", "GHOSTS", "Life", "initial_paths", "living", "nothing_goes_back"]

RATE = 800.0
"""Updates published each second of our own time (`own_time`); what the tests promise is `AT_LEAST`."""
AT_LEAST = 500.0
FOUND_WITHIN_S = 5.0
_PATIENCE_S = 40.0
_NOTICES = frozenset({"engine.lost", "engine.state_lost", "engine.not_there", "commit.unanswered"})
_QUIET = frozenset({"debug", "info"})

INITIAL = {
    "initial_a": "data.initial.a",
    "initial_b": "data.initial.b.c",
    "initial_policy": "data.faults.initial.answer",
    "base_first": 'data.base["0"]',
    "base_last": 'data.base["39"]',
    "logs": 'data.load.logs["0"]',
}
"""What has to be there whenever OPA says that it is ready."""
GHOSTS = {
    "ghost_source": "data.earlier.only",
    "ghost_update": "data.earlier.live.deep",
    "ghost_policy": "data.faults.earlier",
    "ghost_key": 'data.load.ghosts["1"]',
}
"""What only an earlier life writes."""

_ALSO = {"pair": "data.load.pair", "commit": "data.system.cabochon.commit", **GHOSTS}


def initial_paths(sample: Sample) -> str | None:
    """Say what a reader of OPA's may hold against a sample that is ready."""
    if not sample.ready:
        return None
    missing = sorted(INITIAL.keys() - sample.found.keys())
    if missing:
        return f"ready without {missing}"
    pair = sample.found["pair"]
    if pair["left"] != pair["right"]:
        return f"ready with half an update: {pair}"
    return None


def nothing_goes_back(sample: Sample, before: Sample | None) -> str | None:
    """Say that of a sample, or that it shows an older document than the last one that was ready."""
    complaint = initial_paths(sample)
    if complaint is None and sample.ready and before is not None:
        version, seen = sample.found["initial_a"]["version"], before.found["initial_a"]["version"]
        return f"ready with version {version} after {seen}" if version < seen else None
    return complaint


class _Source(InProcessSource):
    """Counts what the agent takes."""

    def __init__(self, load: Load) -> None:
        super().__init__(base_data=load.base, bundle=load.policies)
        self.given_at: list[float] = []

    async def events(self) -> AsyncIterator[SourceEvent]:
        async with aclosing(cast("AsyncGenerator[SourceEvent]", super().events())) as events:
            async for event in events:
                if isinstance(event, DataUpdateReceived):
                    self.given_at.append(time.monotonic())
                yield event


class _Reports(CallbackReporter):
    def __init__(self) -> None:
        self.by_update: dict[str, list[dict[str, Any]]] = defaultdict(list)

    async def report(self, report: bytes, callback: Callback) -> None:
        document = msgspec.json.decode(report)
        self.by_update[document["update_id"] or ""].append(document)

    @hookimpl
    def cabochon_callback_reporters(self) -> list[CallbackReporterType]:
        @asynccontextmanager
        async def opened(_settings: object) -> AsyncGenerator[CallbackReporter]:
            yield self

        return [CallbackReporterType(name="kept", summary="Kept by the test", open=opened, schemes=("kept",))]


def _stamped(_logger: object, _method: str, event: Any) -> Any:  # noqa: ANN401 - structlog's
    event["at"] = time.monotonic()
    return event


class _Ends(Tracer):
    """Keeps how each update of the load has ended."""

    def __init__(self, load: Load) -> None:
        self.by_id: dict[str, list[UpdateTrace]] = {}
        self._load = load

    def update_ended(self, trace: UpdateTrace) -> None:
        if trace.update_id.removeprefix(self._load.name).isdecimal():
            self.by_id.setdefault(trace.update_id, []).append(trace)


class Life:
    """One agent from start to stop."""

    def __init__(self, url: str, load: Load, watcher: Watcher, tasks: anyio.abc.TaskGroup, agent: Agent) -> None:
        self.load = load
        self.watcher = watcher
        self.agent = agent
        self._time = OwnTime()
        self._url = url
        self._tasks = tasks
        self._source: _Source
        self._reports: _Reports
        self._events: Sequence[Any]
        self._ended: dict[str, list[UpdateTrace]]
        self._enough = anyio.Event()
        self._published_all = anyio.Event()
        self._versions = 0

    def wire(
        self, source: _Source, reports: _Reports, events: Sequence[Any], ended: dict[str, list[UpdateTrace]]
    ) -> None:
        """Tell it where to look."""
        self._source, self._reports, self._events, self._ended = source, reports, events, ended

    # ----------------------------------------------------------------------------------------------- what happens

    def keep_time(self) -> None:
        """Know from now on how much of the time is our own."""
        self._tasks.start_soon(self._time.keep)

    def start_load(self) -> None:
        """Let updates flow from now on."""
        self._tasks.start_soon(self._publish)

    async def _publish(self) -> None:
        began, published = own_time(), 0
        while not self._enough.is_set():
            due = int((own_time() - began) * RATE)
            while published < due and not self._enough.is_set():
                await self._source.publish(self.load.next())
                published += 1
            await anyio.sleep(0.01)
        self._published_all.set()

    async def publish(self, update: dict[str, Any]) -> None:
        """Publish an update that the model does not know."""
        await self._source.publish(update)

    async def change_policies(self) -> None:
        """Let the source have another version of the policies."""
        self._versions += 1
        self.load.change_policies(policy_bundle(self._versions))
        await self._source.change_policies(self.load.policies)

    async def until(
        self, condition: Callable[[], object], what: str, so_far: Callable[[], object] = lambda: None
    ) -> None:
        """Wait for a condition; much of it happens in other processes, so looking often is all that can be done.

        With `so_far`, which says how much of it is done, wait for as long as that goes on.
        """
        found, began = so_far(), own_time()
        while not condition():
            assert own_time() - began < _PATIENCE_S, f"not within {_PATIENCE_S:g} s: {what}"
            await anyio.sleep(0.005)
            before, found = found, so_far()
            if found != before:
                began = own_time()

    async def until_ready(self, moment: float | None = None) -> float:
        """Wait until a question that was asked after `moment` (now) is answered with ready; return when that was."""
        since = time.monotonic() if moment is None else moment
        await self.until(lambda: self.watcher.ready_since(since), "OPA says that it is ready")
        return time.monotonic()

    async def until_told(self, event: str, since: float) -> None:
        """Wait until the agent has logged an event after `since`."""
        await self.until(lambda: self.told(event, since), event)

    async def until_back(self) -> None:
        """Wait until the agent has filled an engine that was away."""

        def back() -> bool:
            turns = [line["event"] for line in list(self._events) if line["event"] in {"engine.lost", "engine.filled"}]
            return turns[-1:] == ["engine.filled"]

        await self.until(back, "the engine is filled")

    def newest(self) -> Sample:
        """The last sample."""
        return self.watcher.samples[-1]

    def told(self, event: str, since: float = 0.0, until: float = float("inf")) -> list[Any]:
        """The events of that name that were logged in that time."""
        return [line for line in list(self._events) if line["event"] == event and since <= line["at"] <= until]

    # ------------------------------------------------------------------------------------------------ what must be

    async def check_noticed(self, since: float) -> str:
        """Fail unless the agent has said within 5 s (of our own) of a fault that something is wrong; return how."""

        def notices() -> list[Any]:
            return [line for line in list(self._events) if line["event"] in _NOTICES and line["at"] >= since]

        await self.until(notices, "the agent notices")
        (first, *_) = notices()
        took = self._time.between(since, first["at"])
        assert took <= FOUND_WITHIN_S, f"{first['event']} after {took:.2f} s"
        return first["event"]

    def check_rate(self, *spans: tuple[float, float]) -> None:
        """Fail unless at least 500 updates a second (of our own) were given to the agent in these times."""
        seconds = sum(self._time.between(begin, end) for begin, end in spans)
        given = sum(sum(begin <= at <= end for at in self._source.given_at) for begin, end in spans)
        assert given >= AT_LEAST * seconds, f"only {given} updates in {seconds:.2f} s"

    async def check_end(self, **others: Any) -> None:
        """End the load, and fail unless all of it is in OPA, exactly once, and has been reported."""
        self._enough.set()
        await self.until(self._published_all.is_set, "the load has ended")
        count = self.load.made
        ended = self._ended
        await self.until(lambda: len(ended) >= count, f"{count} updates have ended", lambda: len(ended))
        expected = {**self.load.model, **others}
        await self._until_data(expected)
        await self.until(lambda: self.agent.pipeline.log.in_sync, "in sync")
        self._check_once()
        await self._check_document()
        await self._check_reports()
        self._check_samples()
        assert self.agent.pipeline.metrics.snapshot().get("desired_state.diverged", 0) == 0
        # A store raises what its contract says, whatever happens to the engine.
        assert not self.told("commit.broke")

    async def data(self) -> dict[str, Any]:
        """All documents of OPA's, without `system`."""
        async with httpx.AsyncClient(base_url=self._url, timeout=10) as client:
            return (await client.get("/v1/data")).json()["result"]

    async def _until_data(self, expected: dict[str, Any]) -> None:
        found: dict[str, Any] = {}
        began = own_time()
        while own_time() - began < _PATIENCE_S:
            before, found = found, await self.data()
            # Objects that were made to hold what an earlier life wrote may stay, empty.
            _forget_empty(found, "earlier")
            _forget_empty(found.get("load", {}), "ghosts")
            if found == expected:
                return
            if found != before:
                began = own_time()
            await anyio.sleep(0.05)
        raise AssertionError("OPA's data differ from the model: " + "; ".join(_differences(expected, found)[:12]))

    def _check_once(self) -> None:
        logs = self.load.model["load"]["logs"]
        # The documents are as the model's: this is about the model, that it would show what came twice.
        assert sorted(self.load.appended) == sorted(one for ids in logs.values() for one in ids)
        twice = {name: len(ends) for name, ends in self._ended.items() if len(ends) != 1}
        assert not twice, f"updates that ended more than once: {twice}"

    async def _check_document(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=10) as client:
            document = (await client.get("/v1/data/system/opal")).json()["result"]
            probe = await client.get("/health/ready")
        assert (document["ready"], document["in_sync"], document["out_of_sync_paths"]) == (True, True, [])
        assert document["healthy"] is True, document["last_failed_data_transaction"]
        assert probe.status_code == 200

    async def _check_reports(self) -> None:
        dropped = self.agent.pipeline.metrics.snapshot().get("reports.follow_ups_dropped", 0)

        def unsaved() -> list[str]:
            return [name for name in self._ended if not self._is_saved(name)]

        await self.until(lambda: len(unsaved()) <= dropped, "reports that say saved", lambda: len(unsaved()))
        for name, ends in self._ended.items():
            first, *later = self._reports.by_update[name]
            assert all(entry["saved"] for entry in first["reports"]) == (not ends[0].error), name
            assert all(report["user_data"] == {"follow_up": True} for report in later), name

    def _is_saved(self, name: str) -> bool:
        reports = self._reports.by_update.get(name)
        return bool(reports) and all(entry["saved"] for entry in reports[-1]["reports"])

    def _check_samples(self) -> None:
        wrong = [f"{complaint} (of {len(self.watcher.wrong)})" for complaint, _ in self.watcher.wrong[:5]]
        assert not wrong, wrong
        assert any(sample.ready for sample in self.watcher.samples)

    def failed(self) -> int:
        """How many updates ended without success."""
        return sum(bool(one.error) for ends in self._ended.values() for one in ends)

    def show(self) -> None:
        """Write what the agent has complained of where a failure shows it."""
        begin = self._events[0]["at"] if self._events else 0.0
        notable = [line for line in self._events if line["event"] != "transaction.ended"]
        notable = [line for line in notable if line["log_level"] not in _QUIET or line["event"].startswith("engine")]
        for line in notable[-60:]:
            rest = {key: value for key, value in line.items() if key not in {"event", "at", "log_level"}}
            sys.stderr.write(f"{line['at'] - begin:8.3f} {line['event']} {str(rest)[:200]}\n")


def _differences(expected: object, found: object, where: str = "") -> list[str]:
    wanted, there = _members(expected), _members(found)
    if wanted is None or there is None:
        return [] if expected == found else [f"{where} is {_end_of(found)} and not {_end_of(expected)}"]
    out: list[str] = []
    for key in sorted({*wanted, *there}):
        path = f"{where}/{key}"
        if key not in there:
            out.append(f"{path} is missing")
        elif key not in wanted:
            out.append(f"{path} is too much")
        else:
            out.extend(_differences(wanted[key], there[key], path))
    return out


def _members(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _end_of(value: object) -> str:
    return str(value)[-200:]


def _is_empty(value: object) -> bool:
    """Tell whether there is nothing in it but objects."""
    members = _members(value)
    return members is not None and all(map(_is_empty, members.values()))


def _forget_empty(document: dict[str, Any], name: str) -> None:
    if _is_empty(document.get(name)):
        del document[name]


@asynccontextmanager
async def living(
    url: str,
    load: Load,
    *,
    through: str | None = None,
    judge: Callable[[Sample, Sample | None], str | None] = nothing_goes_back,
) -> AsyncGenerator[Life]:
    """Run an agent; its OPA answers at `url`, and the agent goes `through` a proxy if that is set.

    The agent is cancelled at the end, which to the engine is as if it had been killed.
    """
    source, reports, ends = _Source(load), _Reports(), _Ends(load)
    failure: Exception | None = None
    settings = CoreSettings.model_validate(
        {
            "policy_store_type": "OPA",
            "should_report_on_data_updates": True,
            "default_update_callbacks": "kept://here",
            "report_outbox_size": 200_000,
        }
    )
    environ = {
        "OPAL_POLICY_STORE_URL": through or url,
        "OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED": "true",
        "OPAL_INLINE_OPA_ENABLED": "false",
    }

    with (
        capture_logs([_stamped]) as events,
        Watcher(url, {**INITIAL, **_ALSO}, judge) as watcher,
    ):
        plugins = Plugins.of(("opa", opa_plugin), ("reports", reports))
        async with (
            open_agent(plugins, settings, environ=environ, source=source) as agent,
            anyio.create_task_group() as tasks,
        ):
            life = Life(url, load, watcher, tasks, agent)
            life.wire(source, reports, events, ends.by_id)
            await tasks.start(agent.run)
            life.keep_time()
            try:
                with agent.context.traces.sent_to(ends):
                    yield life
            except Exception as err:  # noqa: BLE001 - raised again, without the task group's wrapping
                failure = err
                life.show()
                life.show()
                sys.stderr.write(
                    f"{len(life.watcher.samples)} samples, {life.load.made} made, {life.failed()} failed\n"
                )
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
