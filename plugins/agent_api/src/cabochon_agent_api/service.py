"""The service: a listening socket, and the application behind it for as long as the agent runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import structlog
from anyio import to_thread

from cabochon import AgentContext
from cabochon.kit.web.pages import PageGuard, is_loopback
from cabochon.kit.web.server import App, serve
from cabochon.kit.web.sockets import bind_tcp
from cabochon.kit.web.tokens import read_public_key
from cabochon_agent_api.application import FREE_PATHS, application
from cabochon_agent_api.settings import AgentApiSettings
from cabochon_agent_api.tokens import Guard, open_to_all, verifier

__all__ = ["serving"]

log = structlog.get_logger()

_OPEN = "EVERYONE WHO REACHES THIS AGENT MAY READ ITS SECRETS AND CHANGE ITS CALLBACKS: set OPAL_AUTH_PUBLIC_KEY"


@asynccontextmanager
async def serving(settings: AgentApiSettings, agent: AgentContext) -> AsyncGenerator[None]:
    """Serve the agent's HTTP API while inside.

    Raises:
        ConfigurationError: the address can't be listened on, or the public key is none.
    """
    guard = await _guard(settings)
    listener = bind_tcp(settings.host, settings.port, setting="OPAL_CLIENT_API_SERVER_PORT")
    host, port = listener.getsockname()[:2]
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        is_open = guard is open_to_all
        pages = PageGuard(settings, free=FREE_PATHS, is_open=is_open, listens_on=host, name=settings.host)
        openness = _OPEN if is_open and not is_loopback(host) else None
        app = cast("App", application(settings, agent, guard, pages, openness))
        tasks.start_soon(serve, app, listener, stop)
        log.info("agent_api.started", host=host, port=port, tokens=not is_open)
        if openness is not None:
            log.critical("agent_api.open_to_the_network", host=host, port=port, why=openness)
        try:
            yield
        finally:
            stop.set()


async def _guard(settings: AgentApiSettings) -> Guard:
    if settings.public_key is None:
        return open_to_all
    return verifier(settings, await to_thread.run_sync(read_public_key, settings))
