"""The application behind a listening socket, until it is told to stop."""

from __future__ import annotations

import logging
import socket

import anyio
import uvicorn
from starlette.types import ASGIApp

from cabochon import ConfigurationError

__all__ = ["listener", "serve"]

_BACKLOG = 2048
_GRACE_S = 3
_SILENCE_S = 20.0


def listener(host: str, port: int) -> socket.socket:
    """Listen.

    Raises:
        ConfigurationError: that address can't be listened on.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as err:
        raise ConfigurationError(
            f"OPAL_SERVER_BIND_PORT={port}: the server can't listen on {host}:{port}: {err.strerror or err}; choose "
            "another port, or 0 for any that is free"
        ) from err


async def serve(app: ASGIApp, listening: socket.socket, stop: anyio.Event, *, largest_message: int) -> None:
    """Serve `app` until `stop` is set; connections then have a few seconds to end."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        server_header=False,
        date_header=False,
        proxy_headers=True,
        ws_max_size=largest_message,
        ws_ping_interval=_SILENCE_S,
        ws_ping_timeout=_SILENCE_S,
        # Every message is sent to many: deflating it for each would cost more than it saves.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end, server, stop)
        await server.serve(sockets=[listening])
        tasks.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to whoever runs it."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Capture none."""
        from contextlib import nullcontext  # noqa: PLC0415

        return nullcontext()


async def _end(server: uvicorn.Server, stop: anyio.Event) -> None:
    await stop.wait()
    server.should_exit = True
