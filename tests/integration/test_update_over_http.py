"""Data updates over real HTTP on both sides: fetched from a real source, reported to a real receiver."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

import cabochon_callbacks.plugin as callbacks
import cabochon_http_fetcher.plugin as http_fetcher
from cabochon import Connected, DataUpdateReceived, Plugins, SourceEvent, UpdateSource, hookimpl
from cabochon.agent.opening import open_agent
from cabochon.documents.json_values import peer_hash
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle
from cabochon.settings.core import CoreSettings
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_mock_store import MockEngine, mock_store_type


@pytest.fixture
def anyio_backend() -> str:
    """The fetcher `http` runs on asyncio alone (docs/decisions/0009)."""
    return "asyncio"


class _Store:
    def __init__(self, engine: MockEngine) -> None:
        self._engine = engine

    @hookimpl
    def cabochon_policy_stores(self) -> list[Any]:
        return [mock_store_type(self._engine)]


class _Source(UpdateSource):
    has_policies = False

    def __init__(self, *updates: Mapping[str, Any]) -> None:
        self._updates = [msgspec.json.decode(msgspec.json.encode(update), type=DataUpdate) for update in updates]

    async def events(self) -> AsyncIterator[SourceEvent]:
        yield Connected()
        for update in self._updates:
            yield DataUpdateReceived(update)
        await anyio.sleep_forever()

    async def data_sources(self) -> DataSourceConfig:
        return DataSourceConfig()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        return None


def _settings(server: ScriptedHttpServer, **more: Any) -> CoreSettings:
    chosen = {
        "policy_store_type": "MOCK",
        "should_report_on_data_updates": True,
        "default_update_callbacks": json.dumps({"callbacks": [f"{server.url}/reports"]}),
        "fetching_callback_timeout": 2,
    }
    return CoreSettings.model_validate(chosen | more)


def _reports(server: ScriptedHttpServer, update_id: str) -> list[dict[str, Any]]:
    found = [request.json() for request in server.requests_to("/reports")]
    return [report for report in found if report["update_id"] == update_id]


async def _until_reported(server: ScriptedHttpServer, update_id: str, times: int) -> None:
    with anyio.fail_after(20):
        while len(_reports(server, update_id)) < times:  # noqa: ASYNC110 - requests come in threads
            await anyio.sleep(0.01)


@asynccontextmanager
async def _running(plugins: Plugins, server: ScriptedHttpServer, source: UpdateSource) -> AsyncGenerator[None]:
    opened = open_agent(plugins, _settings(server), source=source, environ={})
    async with opened as agent, anyio.create_task_group() as tasks:
        await tasks.start(agent.run)
        yield
        agent.stop()


@pytest.fixture
def engine() -> MockEngine:
    """The engine of the test."""
    return MockEngine()


@pytest.fixture
def plugins(engine: MockEngine) -> Plugins:
    """The real HTTP plugins and the test's engine."""
    return Plugins.of(("store", _Store(engine)), ("http-fetcher", http_fetcher), ("callbacks", callbacks))


async def test_fetched_update_is_stored_and_reported(plugins: Plugins, engine: MockEngine) -> None:
    """
    The entry's headers go to the source; the report comes after the data is in the engine, with the peer's hash.
    """
    document = {"bob": {"role": "admin", "limit": 1.5}}
    with ScriptedHttpServer() as server:
        server.route("/reports", status=200)
        url = server.route("/users", json=document)
        config = {"headers": {"Authorization": "Bearer abc"}}
        source = _Source({"id": "u1", "entries": [{"url": url, "config": config, "dst_path": "/users"}]})
        async with _running(plugins, server, source):
            await _until_reported(server, "u1", 1)
        (report,) = _reports(server, "u1")
        assert "Bearer abc" == server.requests_to("/users")[0].headers["authorization"]
        assert "application/json" == server.requests_to("/reports")[0].headers["content-type"].partition(";")[0]
    (one,) = report["reports"]
    assert (True, True, peer_hash(json.dumps(document).encode())) == (one["fetched"], one["saved"], one["hash"])
    assert (url, "/users", "PUT", config) == tuple(
        one["entry"][name] for name in ("url", "dst_path", "save_method", "config")
    )
    assert document == json.loads(json.dumps(engine.get("/users"), default=float))


async def test_source_that_recovers_gets_one_follow_up(plugins: Plugins, engine: MockEngine) -> None:
    """
    One report when the update ends, without the entry that failed; one follow-up for that entry when it has landed.
    """
    with ScriptedHttpServer() as server:
        server.route("/reports", status=200)
        down = server.route("/down", Answer(status=404), Answer(status=404), Answer(json={"v": 1}))
        good = {"url": "", "dst_path": "/good", "data": {"v": 0}}
        source = _Source({"id": "u1", "entries": [good, {"url": down, "dst_path": "/bad"}]})
        async with _running(plugins, server, source):
            await _until_reported(server, "u1", 2)
        # Leaving has sent whatever report was left.
        first, second = _reports(server, "u1")

    assert [(True, True), (False, False)] == [(one["fetched"], one["saved"]) for one in first["reports"]]
    assert {} == first["user_data"]
    assert [("/bad", True, True)] == [
        (one["entry"]["dst_path"], one["fetched"], one["saved"]) for one in second["reports"]
    ]
    assert {"follow_up": True} == second["user_data"]
    assert {"good": {"v": 0}, "bad": {"v": 1}} == engine.documents


async def test_receiver_that_is_down_gets_the_report_later(plugins: Plugins) -> None:
    """
    Each report exactly once, as soon as the receiver is back.
    """
    with ScriptedHttpServer() as server:
        server.route(
            "/reports", Answer(status=503), Answer(status=503, headers={"Retry-After": "1"}), Answer(status=200)
        )
        source = _Source({"id": "u1", "entries": [{"url": "", "dst_path": "/a", "data": {"v": 0}}]})
        async with _running(plugins, server, source):
            await _until_reported(server, "u1", 1)

        first, second, third, *_ = server.requests_to("/reports")
        assert 1 == len(_reports(server, "u1"))
        assert second.at - first.at >= 0.5
        assert third.at - second.at >= 1.0
