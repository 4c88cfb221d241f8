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


async def serve(
    app: ASGIApp, connection: Callable[..., asyncio.Protocol], server_socket: socket.socket, stop: anyio.Event
) -> None:
    """Serve `app`, and WebSockets by protocols that `connection` makes, until `stop` is set, and a few seconds more."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws=cast("type[asyncio.Protocol]", connection),
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        server_header=False,
        date_header=False,
        proxy_headers=True,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end, server, stop)
        await server.serve(sockets=[server_socket])
        tasks.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


async def _end(server: uvicorn.Server, stop: anyio.Event) -> None:
    await stop.wait()
    server.should_exit = True
