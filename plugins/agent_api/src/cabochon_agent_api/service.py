"""The service: a listening socket, and the application behind it for as long as the agent runs."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import structlog
from anyio import to_thread

from cabochon import AgentContext, ConfigurationError
from cabochon.asgi_server import App, serve
from cabochon_agent_api.application import application
from cabochon_agent_api.settings import AgentApiSettings
from cabochon_agent_api.tokens import Guard, open_to_all, read_public_key, verifier

__all__ = ["serving"]

log = structlog.get_logger()

_BACKLOG = 128


@asynccontextmanager
async def serving(settings: AgentApiSettings, agent: AgentContext) -> AsyncGenerator[None]:
    """Serve the agent's HTTP API while inside.

    Raises:
        ConfigurationError: the address can't be listened on, or the public key is none.
    """
    guard = await _guard(settings)
    listener = _listener(settings)
    host, port = listener.getsockname()[:2]
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        app = cast("App", application(settings, agent, guard))
        tasks.start_soon(serve, app, listener, stop)
        log.info("agent_api.started", host=host, port=port, tokens=guard is not open_to_all)
        try:
            yield
        finally:
            stop.set()


async def _guard(settings: AgentApiSettings) -> Guard:
    if settings.public_key is None:
        return open_to_all
    return verifier(settings, await to_thread.run_sync(read_public_key, settings))


def _listener(settings: AgentApiSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as err:
        raise ConfigurationError(
            f"OPAL_CLIENT_API_SERVER_PORT={settings.port}: the agent's HTTP API can't listen on "
            f"{settings.host}:{settings.port}: {err.strerror or err}; choose another port, or 0 for any that is free"
        ) from err
