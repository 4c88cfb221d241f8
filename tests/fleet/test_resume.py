"""Our agent and our server: connections that are cut, a server that is killed, and nothing lost or taken twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from structlog.testing import capture_logs

import cabochon_opal_source.plugin as opal_source
from cabochon import Plugins, hookimpl, load_settings
from cabochon.agent.opening import open_agent
from cabochon.settings.core import CoreSettings
from cabochon_mock_store import MockEngine, mock_store_type

from .server_process import PATIENCE_S, ServerProcess

UPDATES = 150
CUTS = 4


class _Store:
    def __init__(self, engine: MockEngine) -> None:
        self._engine = engine

    @hookimpl
    def cabochon_policy_stores(self) -> list[Any]:
        return [mock_store_type(self._engine)]


class CuttingProxy:
    """Passes connections on, and breaks each of the first ones after some bytes that the server has sent.

    Attributes:
        cuts: how many it has broken.
    """

    def __init__(self, port: int, budgets: list[int]) -> None:
        self.cuts = 0
        self._port = port
        self._budgets = budgets

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            try:
                server = await anyio.connect_tcp("127.0.0.1", self._port)
            except OSError:
                return
            async with server, anyio.create_task_group() as tasks:
                tasks.start_soon(self._pass, client, server, None, tasks.cancel_scope)
                budget = self._budgets.pop(0) if self._budgets else None
                await self._pass(server, client, budget, tasks.cancel_scope)

    async def _pass(
        self, origin: anyio.abc.SocketStream, goal: anyio.abc.SocketStream, left: int | None, scope: anyio.CancelScope
    ) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                chunk = await origin.receive()
                await goal.send(chunk[:left])
                if left is not None:
                    left -= len(chunk)
                    if left <= 0:
                        self.cuts += 1
                        break
        scope.cancel()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as server:
        yield server


@asynccontextmanager
async def _agent(server: ServerProcess, proxy_port: int) -> AsyncGenerator[MockEngine]:
    engine = MockEngine()
    environ = {
        "OPAL_SERVER_URL": server.url,
        "OPAL_SERVER_WS_URL": f"ws://127.0.0.1:{proxy_port}",
        "OPAL_POLICY_STORE_TYPE": "MOCK",
        "OPAL_POLICY_UPDATER_ENABLED": "false",
        "OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "false",
    }
    plugins = Plugins.of(("store", _Store(engine)), ("opal-source", opal_source))
    async with (
        open_agent(plugins, load_settings(CoreSettings, environ), environ=environ) as agent,
        anyio.create_task_group() as tasks,
    ):
        await tasks.start(agent.run)
        yield engine
        agent.stop()


async def _until(engine: MockEngine, expected: object) -> None:
    with anyio.move_on_after(PATIENCE_S):
        while engine.documents.get("list") != expected:  # noqa: ASYNC110 - the engine's state, which has no event
            await anyio.sleep(0.01)
    assert expected == engine.documents.get("list")


async def _publish(http: httpx.AsyncClient, data: object, method: str) -> None:
    entry = {"url": "", "dst_path": "/list", "data": data, "topics": ["policy_data"], "save_method": method}
    (await http.post("/data/config", json={"entries": [entry]})).raise_for_status()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("seed", [1])
async def test_nothing_is_lost_or_taken_twice(server: ServerProcess, seed: int) -> None:
    """
    Patches append to a list while connections break at random and the server is killed: each is there once, in order.
    """
    chance = Random(seed)  # noqa: S311 - for a test
    # The upgrade and the subscription take the first 500 bytes or so: some are cut in the midst of those.
    proxy = CuttingProxy(
        server.port, [chance.randint(2_000, 4_000), *(chance.randint(300, 9_000) for _ in range(CUTS))]
    )
    await server.start()
    with capture_logs() as logs:
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
            httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as http,
        ):
            tasks.start_soon(listener.serve, proxy.serve)
            proxy_port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
            async with _agent(server, proxy_port) as engine:
                with anyio.fail_after(PATIENCE_S):
                    while not any(entry["event"] == "update_source.connected" for entry in logs):  # noqa: ASYNC110 - a log, which has no event
                        await anyio.sleep(0.01)
                await _publish(http, [], "PUT")
                await _until(engine, [])
                for number in range(UPDATES):
                    await _publish(http, [{"op": "add", "path": "/-", "value": number}], "PATCH")
                    if number in {UPDATES // 3, 2 * UPDATES // 3}:
                        server.kill()
                        await server.start()
                await _until(engine, list(range(UPDATES)))
                # Whoever is cut now starts from there, too: nothing comes again.
                await _publish(http, [{"op": "add", "path": "/-", "value": "last"}], "PATCH")
                await _until(engine, [*range(UPDATES), "last"])
            tasks.cancel_scope.cancel()

    connected = [entry["resumed"] for entry in logs if entry["event"] == "update_source.connected"]
    assert [False] == connected[:1]
    assert len(connected) >= 4
    assert all(connected[1:])
    assert proxy.cuts >= 2
