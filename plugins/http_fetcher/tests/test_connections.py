"""One pool of connections: used again, bounded, and through the proxy that the environment names."""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from cabochon.contract.fetcher import Fetcher
from cabochon.errors import FetchError, FetchStatusError
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_http_fetcher.plugin import open_http_fetcher
from cabochon_http_fetcher.settings import HttpFetcherSettings

NO_CONFIG: dict[str, Any] = {}


async def test_connections_are_used_again(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """One connection serves one fetch after another, refusals and failures too."""
    url = server.route("/x", Answer(status=503, body="busy"), Answer(status=404), Answer(json={}))
    for _ in range(4):
        with suppress(FetchStatusError):
            await fetcher.fetch(url, {})

    assert 1 == server.connections


async def test_no_more_than_the_limit_are_in_flight(opened: Callable[..., Any], server: ScriptedHttpServer) -> None:
    """More fetches than connections wait for their turn, and all get one."""
    fetcher = await opened(max_connections=3)
    hold = threading.Event()
    url = server.route("/x", json={}, hold=hold)
    in_flight = 0
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(fetcher.fetch, url, NO_CONFIG)
        await server.wait_for_requests(3)
        await anyio.wait_all_tasks_blocked()
        in_flight = len(server.requests)
        hold.set()

    assert (3, 10) == (in_flight, len(server.requests))


async def test_idle_connections_make_room_for_other_origins(opened: Callable[..., Any]) -> None:
    """Idle connections, however many origins they lead to, do not keep a new origin waiting."""
    fetcher = await opened(max_connections=2)
    with ScriptedHttpServer() as one, ScriptedHttpServer() as two, ScriptedHttpServer() as three:
        for server in (one, two, three, one, two, three):
            assert b"{}" == await fetcher.fetch(server.route("/x", json={}), {})


def test_an_agent_that_fetches_nothing_goes_without_the_client() -> None:
    """The client, several megabytes, comes with the first document; opening the fetcher alone does not load it."""
    code = """
import anyio, sys
from cabochon_http_fetcher.plugin import open_http_fetcher
from cabochon_http_fetcher.settings import HttpFetcherSettings
async def opened():
    async with open_http_fetcher(HttpFetcherSettings()):
        return "aiohttp" in sys.modules
sys.exit(anyio.run(opened))
"""

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_trio_is_told_that_the_client_runs_on_asyncio(server: ScriptedHttpServer) -> None:
    """The fetcher opens on trio, and a fetch says why it can't be."""
    url = server.route("/x", json={})

    async def fetch() -> None:
        async with open_http_fetcher(HttpFetcherSettings()) as fetcher:
            await fetcher.fetch(url, {})

    with pytest.raises(FetchError, match="runs on asyncio alone") as caught:
        anyio.run(fetch, backend="trio")

    assert not caught.value.again
    assert [] == server.requests


async def test_first_fetches_side_by_side_share_one_pool(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """Fetches that begin while the client is being loaded wait for it, and all use the same one."""
    url = server.route("/x", json={})
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(fetcher.fetch, url, NO_CONFIG)
    await fetcher.fetch(url, NO_CONFIG)

    assert 6 == len(server.requests)
    assert server.connections <= 5  # a second pool would open a sixth


async def test_connection_that_the_server_closed_is_not_used_again(
    fetcher: Fetcher, server: ScriptedHttpServer
) -> None:
    """A server that closes an idle connection does not spoil the next fetch."""
    url = server.route("/x", json={}, headers={"Connection": "close"})
    for _ in range(3):
        assert b"{}" == await fetcher.fetch(url, {})


async def test_environment_names_the_proxy(
    opened: Callable[..., Any], server: ScriptedHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is followed, NO_PROXY too, as the peer does."""
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetcher = await opened()
    server.route("/x", json={"through": "proxy"})
    with ScriptedHttpServer() as direct:
        through = await fetcher.fetch("http://data.invalid/x", {})
        past = await fetcher.fetch(direct.route("/x", json={"through": "nothing"}), {})

    assert (b'{"through": "proxy"}', b'{"through": "nothing"}') == (through, past)
    assert "data.invalid" == server.requests[0].headers["host"]


async def test_proxy_that_is_none_is_named(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that can't be used ends the fetch with an error, and is not shown: it may hold a password."""
    monkeypatch.setenv("http_proxy", "gopher://bob:hunter2@127.0.0.1:1")
    with pytest.raises(FetchError) as caught:
        await (await opened()).fetch("http://data.invalid/x", {})
    error = caught.value

    assert not error.again
    assert "the environment's proxy for http can't be used" in str(error)
    assert "hunter2" not in str(error)
