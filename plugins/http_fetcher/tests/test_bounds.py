"""Where an entry may lead: to what an operator allows, and never into the agent's own engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cabochon import FetchError
from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_http_fetcher.plugin import open_http_fetcher
from cabochon_http_fetcher.settings import HttpFetcherSettings


async def test_own_addresses_get_no_byte(server: ScriptedHttpServer) -> None:
    """By name, by address in any notation, and after a redirect."""
    with ScriptedHttpServer() as own:
        redirecting = server.route("/x", status=307, headers={"Location": own.route("/own")})
        hosts = ("localhost", "127.0.0.1", "127.0.0.2", "2130706433")
        urls = [*(f"http://{host}:{own.port}/own" for host in hosts), redirecting]
        async with open_http_fetcher(HttpFetcherSettings()) as fetcher:
            fetcher.avoid([own.url])
            for url in urls:
                with pytest.raises(FetchError, match=r"may not be fetched.*OPAL_FETCH_ALLOWED") as refused:
                    await fetcher.fetch(url, {"method": "post"})
                assert not refused.value.again
            assert b"1" == await fetcher.fetch(server.route("/fine", json=1), {})
            assert b"1" == await fetcher.fetch(f"http://localhost:{server.port}/fine", {})

        assert [] == own.requests


async def test_link_local_is_out_of_bounds() -> None:
    """Clouds give their secrets there; no name is resolved, and no time lost."""
    async with open_http_fetcher(HttpFetcherSettings()) as fetcher:
        for host in ("169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"):
            with pytest.raises(FetchError, match="link-local or metadata"):
                await fetcher.fetch(f"http://{host}/latest/meta-data", {})


@pytest.mark.parametrize(
    "bounds",
    [
        {"allowed": "data.example"},
        {"denied": "localhost"},
        {"denied": "127.0.0.0/8,::1"},
        {"allowed": "https:"},
        {"denied": "http:"},
    ],
    ids=str,
)
async def test_operators_draw_the_bounds(server: ScriptedHttpServer, bounds: dict[str, Any]) -> None:
    """By host, network or scheme."""
    url = server.route("/x", json=1).replace("127.0.0.1", "localhost")
    async with open_http_fetcher(HttpFetcherSettings.model_validate(bounds)) as fetcher:
        with pytest.raises(FetchError, match="OPAL_FETCH_"):
            await fetcher.fetch(url, {})
    assert [] == server.requests


@pytest.mark.parametrize("method", ["put", "patch", "delete", "head"])
async def test_other_methods_are_for_the_operator_to_allow(
    opened: Callable[..., Any], server: ScriptedHttpServer, method: str
) -> None:
    """They change what an entry is only to read."""
    url = server.route("/x", json=1)
    with pytest.raises(FetchError, match="OPAL_FETCH_METHODS, GET, POST") as refused:
        await (await opened()).fetch(url, {"method": method})
    assert not refused.value.again
    await (await opened(methods=(method,))).fetch(url, {"method": method, "is_json": False})

    assert [method.upper()] == [request.method for request in server.requests]
