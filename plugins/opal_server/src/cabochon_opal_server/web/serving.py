"""The application behind a listening socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast

import anyio
import uvicorn
from starlette.types import ASGIApp

__all__ = ["serve"]

_GRACE_S = 3
_BACKLOG = 2048


async def serve(
    app: ASGIApp,
    connection: Callable[..., asyncio.Protocol],
    server_socket: socket.socket,
    stop: anyio.Event,
    http: Callable[..., asyncio.Protocol],
    *,
    at_once: int,
) -> None:
    """Serve `app` until `stop` is set, and a few seconds more.

    Args:
        app: what answers requests.
        connection: makes the protocols of WebSockets.
        server_socket: where connections come.
        stop: ends it.
        http: makes the protocols of HTTP connections.
        at_once: connections that are taken in one turn of the event loop; asyncio would take as many as may wait.
    """
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", http),
        ws=cast("type[asyncio.Protocol]", connection),
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        server_header=False,
        date_header=False,
        proxy_headers=True,
        backlog=at_once,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end, server, stop)
        await server.serve(sockets=[server_socket])
        tasks.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to whoever runs it."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and let more connections wait than are taken at once."""
        await super().startup(sockets)
        for server_socket in sockets or ():
            server_socket.listen(_BACKLOG)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


async def _end(server: uvicorn.Server, stop: anyio.Event) -> None:
    await stop.wait()
    server.should_exit = True
