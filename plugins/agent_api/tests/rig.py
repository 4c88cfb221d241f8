"""An agent on a mock engine, a source that tests feed, and a client of the agent's real HTTP port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import httpx

from cabochon import AgentContext, AsgiApp, HttpRoutesType, hookimpl
from cabochon.agent.agent import Agent
from cabochon.testing.in_process_source import InProcessSource
from cabochon_mock_store import MockEngine, mock_store_type

__all__ = ["MockPlugin", "Mounted", "Open", "Rig"]


class Rig:
    """An agent that runs, its engine and its source; `client` asks its API."""

    def __init__(self, agent: Agent, engine: MockEngine, source: InProcessSource, client: httpx.AsyncClient) -> None:
        self.agent = agent
        self.engine = engine
        self.source = source
        self.client = client

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for something that the agent is about to do."""
        with anyio.fail_after(10):
            while not wanted():  # noqa: ASYNC110 - there is no event for it
                await anyio.sleep(0.005)


Open: TypeAlias = Callable[..., Awaitable[Rig]]
"""Runs an agent with base data `entries`, an open `store` in place of the mock engine's, and environment variables."""


class MockPlugin:
    """The mock engine."""

    def __init__(self) -> None:
        self.engine = MockEngine()

    @hookimpl
    def cabochon_policy_stores(self) -> list[Any]:
        return [mock_store_type(self.engine)]


class Mounted:
    """A plugin with two routes, one of them public, and one that raises."""

    @hookimpl
    def cabochon_http_routes(self) -> list[HttpRoutesType]:
        return [
            HttpRoutesType(name="mine", summary="x", mount_path="/mine", app=_echo),
            HttpRoutesType(name="open", summary="x", mount_path="/open", app=_echo, public=True),
            HttpRoutesType(name="broken", summary="x", mount_path="/broken", app=_broken, public=True),
        ]


def _echo(_settings: object, _agent: AgentContext) -> AsgiApp:
    async def app(scope: Any, _receive: object, send: Any) -> None:  # noqa: ANN401 - ASGI's own
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    return app


def _broken(_settings: object, _agent: AgentContext) -> AsgiApp:
    async def app(*_: object) -> None:
        raise OSError("no disk")

    return app
