"""The agent: plugins chosen by settings, services fenced off, a command that ends as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from msgspec import Raw
from pydantic import Field
from structlog.testing import capture_logs

from cabochon import (
    AgentContext,
    AsgiApp,
    ConfigurationError,
    Connected,
    HttpRoutesType,
    Plugins,
    ServiceType,
    Settings,
    SourceEvent,
    hookimpl,
)
from cabochon.agent.opening import open_agent
from cabochon.kit.base_data_source import BaseDataSource
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, UpdateCallback
from cabochon.settings.core import CoreSettings
from cabochon_mock_store import MockEngine, mock_store_type

Opener = Callable[[Any, AgentContext], Any]
Phase = Literal["before_store", "after_store"]


class _Services:
    def __init__(self, engine: MockEngine, **services: tuple[Phase, Opener]) -> None:
        self._engine = engine
        self._services = services

    @hookimpl
    def cabochon_policy_stores(self) -> list[Any]:
        return [mock_store_type(self._engine)]

    @hookimpl
    def cabochon_services(self) -> list[ServiceType]:
        return [
            ServiceType(
                name=name,
                summary="A service of the test",
                open=opener,
                phase=phase,
            )
            for name, (phase, opener) in self._services.items()
        ]


SETTINGS = CoreSettings.model_validate({"policy_store_type": "MOCK", "policy_updater_enabled": False})


async def test_services_start_and_stop_around_the_sync() -> None:
    """
    `before_store` is entered first and left last; both see the context.
    """
    told: list[str] = []

    def service(name: str) -> Opener:
        @asynccontextmanager
        async def opened(_settings: object, context: AgentContext) -> AsyncGenerator[None]:
            told.append(f"{name} starts, ready: {context.log().ready}")
            yield
            told.append(f"{name} stops")

        return opened

    plugin = _Services(MockEngine(), early=("before_store", service("early")), late=("after_store", service("late")))
    async with open_agent(
        Plugins.of(("p", plugin)), SETTINGS, source=BaseDataSource(DataSourceConfig()), environ={}
    ) as agent:
        await agent.run_until_source_ends()

    assert ["early starts, ready: False", "late stops", "early stops"] == [told[0], *told[2:]]
    assert told[1].startswith("late starts")


async def test_service_that_fails_does_not_stop_the_sync() -> None:
    """
    It is named in the log and counted; the rest goes on.
    """

    @asynccontextmanager
    async def broken(_settings: object, _context: AgentContext) -> AsyncGenerator[None]:
        async with anyio.create_task_group():
            raise OSError("port taken")
        yield

    plugin = _Services(MockEngine(), broken=("before_store", broken))
    with capture_logs() as events:
        async with open_agent(
            Plugins.of(("p", plugin)), SETTINGS, source=BaseDataSource(DataSourceConfig()), environ={}
        ) as agent:
            await agent.run_until_source_ends()
            assert agent.pipeline.log.ready
    assert ["OSError: port taken"] == [event["error"] for event in events if event["event"] == "service.failed"]


@pytest.mark.parametrize("phase", ["before_store", "after_store"])
async def test_service_that_needs_another_setting_stops_the_start(phase: Phase) -> None:
    """
    The error reaches the caller bare, whatever task groups lie between; what had started is stopped.
    """
    told: list[str] = []

    @asynccontextmanager
    async def good(_settings: object, _context: AgentContext) -> AsyncGenerator[None]:
        told.append("starts")
        yield
        told.append("stops")

    @asynccontextmanager
    async def wrong(_settings: object, _context: AgentContext) -> AsyncGenerator[None]:
        async with anyio.create_task_group():
            raise ConfigurationError("OPAL_PORT=80 should be another port")
        yield

    plugin = _Services(MockEngine(), a_good=("before_store", good), b_wrong=(phase, wrong))
    with capture_logs() as events:
        async with open_agent(
            Plugins.of(("p", plugin)), SETTINGS, source=BaseDataSource(DataSourceConfig()), environ={}
        ) as agent:
            with pytest.raises(ConfigurationError, match=r"^OPAL_PORT=80 should be another port$"):
                await agent.run_until_source_ends()

    assert ["starts", "stops"] == told
    assert [] == [event for event in events if event["event"] == "service.failed"]


async def test_service_that_finds_a_wrong_setting_later_does_not_stop_the_sync() -> None:
    """
    Once it has started, its errors are its own.
    """

    @asynccontextmanager
    async def late(_settings: object, _context: AgentContext) -> AsyncGenerator[None]:
        yield
        raise ConfigurationError("OPAL_PORT=80 should be another port")

    plugin = _Services(MockEngine(), late=("before_store", late))
    with capture_logs() as events:
        async with open_agent(
            Plugins.of(("p", plugin)), SETTINGS, source=BaseDataSource(DataSourceConfig()), environ={}
        ) as agent:
            await agent.run_until_source_ends()

    assert ["late"] == [event["service"] for event in events if event["event"] == "service.failed"]


async def test_service_of_another_store_does_not_run() -> None:
    """
    It is not even opened, and its settings are not read.
    """
    told: list[str] = []

    class Needy(Settings):
        needed: str = Field(validation_alias="OPAL_NEEDED", description="Has no default.")

    @asynccontextmanager
    async def opened(_settings: object, _context: AgentContext) -> AsyncGenerator[None]:
        told.append("starts")
        yield

    class Offers(_Services):
        @hookimpl
        def cabochon_services(self) -> list[ServiceType]:
            return [
                ServiceType(name="mine", summary="x", open=opened, stores=("mock",)),
                ServiceType(name="other", summary="x", open=opened, stores=("OPA",), settings=Needy),
            ]

    async with open_agent(
        Plugins.of(("p", Offers(MockEngine()))), SETTINGS, source=BaseDataSource(DataSourceConfig()), environ={}
    ) as agent:
        await agent.run_until_source_ends()

    assert ["starts"] == told


async def test_routes_of_plugins_are_built_for_who_serves_them() -> None:
    """
    Those of this store, sorted by name; one that can't be built is named, counted and left out.
    """

    async def app(*_: object) -> None:
        """Answer nothing: it is never called."""

    def broken(_settings: object, _context: AgentContext) -> AsgiApp:
        raise OSError("no file")

    class Offers(_Services):
        @hookimpl
        def cabochon_http_routes(self) -> list[HttpRoutesType]:
            return [
                HttpRoutesType(name="b", summary="x", mount_path="/b", app=lambda _settings, _context: app),
                HttpRoutesType(name="a", summary="x", mount_path="/a", app=broken),
                HttpRoutesType(name="c", summary="x", mount_path="/c", app=broken, stores=("OPA",)),
            ]

    with capture_logs() as events:
        async with open_agent(
            Plugins.of(("p", Offers(MockEngine()))), SETTINGS, source=BaseDataSource(DataSourceConfig()), environ={}
        ) as agent:
            hosted = agent.context.http_routes()

    assert [("b", "/b", app)] == [(one.name, one.mount_path, one.app) for one in hosted]
    assert [("a", "OSError: no file")] == [
        (event["routes"], event["error"]) for event in events if event["event"] == "http_routes.failed"
    ]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [({}, ["http://source/report"]), ({"default_update_callbacks": "http://mine"}, ["http://mine"])],
)
async def test_source_names_the_default_callbacks(chosen: dict[str, str], told: list[str]) -> None:
    """
    They hold unless the operator chose others.
    """
    source = BaseDataSource(DataSourceConfig())
    source.callbacks = UpdateCallback(callbacks=("http://source/report",))
    settings = CoreSettings.model_validate({"policy_store_type": "MOCK", **chosen})

    async with open_agent(Plugins.of(("p", _Services(MockEngine()))), settings, source=source, environ={}) as agent:
        assert told == [entry.url for entry in agent.context.callbacks.entries()]


def _environment(**variables: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
    chosen = {"OPAL_POLICY_STORE_TYPE": "MOCK", "OPAL_UPDATE_SOURCE": "local", "OPAL_LOG_SERIALIZE": "true"}
    return clean | chosen | variables


def test_agent_run_ends_with_its_source(tmp_path: Path) -> None:
    """
    A file of updates is applied to its end, then the agent exits with 0.
    """
    updates = tmp_path / "updates.jsonl"
    lines = [{"id": f"u{n}", "entries": [{"url": "", "dst_path": f"/k{n}", "data": {"n": n}}]} for n in range(50)]
    updates.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cabochon", "agent", "run"],
        env=_environment(OPAL_LOCAL_UPDATES=str(updates)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 0 == done.returncode, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [f"u{n}" for n in range(50)] == [
        event["update_id"] for event in events if event["event"] == "transaction.ended" and event["success"]
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_agent_run_exits_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """
    Within ten seconds, without a traceback, with what came before applied.
    """
    updates = tmp_path / "updates.jsonl"
    updates.write_text('{"id": "u1", "entries": [{"url": "", "dst_path": "/a", "data": {"n": 1}}]}\n', "utf-8")
    command = [sys.executable, "-m", "cabochon", "agent", "run"]
    variables = _environment(OPAL_LOCAL_UPDATES=str(updates), OPAL_LOCAL_FOLLOW="true")
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen: list[str] = []
        for line in process.stderr:
            seen.append(line)
            if '"transaction.ended"' in line:
                break
        process.send_signal(number)
        began = time.monotonic()
        rest = process.stderr.read()
        code = process.wait(timeout=30)

    assert 0 == code, "".join(seen) + rest
    assert time.monotonic() - began < 10
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPAL_POLICY_STORE_TYPE": "NOPE"}, "OPAL_POLICY_STORE_TYPE: unknown policy store 'NOPE'; installed: "),
        ({"OPAL_LOCAL_UPDATES": "/no/such/file"}, "OPAL_LOCAL_UPDATES=/no/such/file should be a file"),
        ({"OPAL_COMMIT_TIMEOUT": "soon"}, "OPAL_COMMIT_TIMEOUT"),
    ],
    ids=["store", "file", "number"],
)
def test_agent_run_says_in_one_line_what_is_wrong(variables: dict[str, str], said: str) -> None:
    """
    A bad setting stops the start with one line that names it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "cabochon", "agent", "run"],
        env=_environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert 1 == done.returncode
    assert line.startswith("cabochon: ")
    assert said in line


async def test_agent_is_stopped_from_outside() -> None:
    """
    `stop` ends `run`, whatever the source does.
    """

    class Silent(BaseDataSource):
        async def events(self):  # type: ignore[no-untyped-def] # noqa: ANN202
            await anyio.sleep_forever()
            yield

    plugin = _Services(MockEngine())
    async with (
        open_agent(Plugins.of(("p", plugin)), SETTINGS, source=Silent(DataSourceConfig()), environ={}) as agent,
        anyio.create_task_group() as tasks,
    ):
        await tasks.start(agent.run)
        agent.stop()


async def test_source_that_breaks_is_followed_again() -> None:
    """
    Its error is logged and counted; what it gives after its next connection is applied.
    """

    class Breaking(BaseDataSource):
        tries = 0

        async def events(self) -> AsyncIterator[SourceEvent]:
            self.tries += 1
            yield Connected()
            if self.tries == 1:
                raise OSError("cable cut")

    engine = MockEngine()
    entry = DataSourceEntryWithPollingInterval(url="", dst_path="/a", data=Raw(b"[1]"))
    source = Breaking(DataSourceConfig(entries=(entry,)))
    with capture_logs() as events:
        async with open_agent(Plugins.of(("p", _Services(engine))), SETTINGS, source=source, environ={}) as agent:
            await agent.run_until_source_ends()
            assert 1 == agent.pipeline.metrics.snapshot()["update_source.failed"]

    assert {"a": [1]} == engine.documents
    assert ["OSError: cable cut"] == [event["error"] for event in events if event["event"] == "update_source.failed"]
