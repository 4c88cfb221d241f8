"""What the fetcher's tests share: a real server, and a fetcher with the settings of the test."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from cabochon.contract.fetcher import Fetcher
from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_http_fetcher.plugin import open_http_fetcher
from cabochon_http_fetcher.settings import HttpFetcherSettings


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The client runs on asyncio alone; see docs/decisions/0009."""
    return request.param


Opener: TypeAlias = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's proxies are not part of a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer() as server:
        yield server


@pytest.fixture
async def opened() -> AsyncGenerator[Opener]:
    """Open fetchers with the settings that are given."""
    async with AsyncExitStack() as stack:

        async def open_fetcher(**settings: Any) -> Fetcher:
            return await stack.enter_async_context(open_http_fetcher(HttpFetcherSettings(**settings)))

        yield open_fetcher


@pytest.fixture
async def fetcher() -> AsyncGenerator[Fetcher]:
    # All methods, which by default are not: what becomes of each is for the tests to see.
    methods = ("GET", "POST", "PUT", "PATCH", "HEAD", "DELETE")
    async with open_http_fetcher(HttpFetcherSettings(timeout=timedelta(seconds=10), methods=methods)) as fetcher:
        yield fetcher
