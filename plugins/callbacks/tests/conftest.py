"""What the reporter's tests share: a real server, and a reporter with the settings of the test."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cabochon.contract.callback_reporter import CallbackReporter
from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_callbacks.plugin import open_http_reporter
from cabochon_callbacks.settings import CallbacksSettings


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
async def opened() -> AsyncGenerator[Callable[..., Any]]:
    """Open reporters with the settings that are given."""
    async with AsyncExitStack() as stack:

        async def open_reporter(**settings: Any) -> CallbackReporter:
            return await stack.enter_async_context(open_http_reporter(CallbacksSettings(**settings)))

        yield open_reporter


@pytest.fixture
async def reporter(opened: Callable[..., Any]) -> CallbackReporter:
    return await opened(timeout=10)
