"""An ASGI application behind a listening socket, served by hypercorn on asyncio or trio.

For the plugins that serve HTTP; hypercorn comes with `cabochon[web]`.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio

from cabochon.kit.extras import needs_extra

if TYPE_CHECKING:
    from hypercorn import Config

__all__ = ["App", "Receive", "Scope", "Send", "serve"]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_GRACE_S = 1.0
_CLOSING_S = 2.0


class _Serve(Protocol):
    async def __call__(self, app: App, config: Config, *, shutdown_trigger: Callable[[], Awaitable[None]]) -> None: ...


async def serve(app: App, listener: socket.socket, stop: anyio.Event) -> None:
    """Serve `app` until `stop` is set, even through a cancellation; `listener` is closed at the end.

    Who is slow to send a request's head is cut off after 5 seconds, and a head is limited to 16 KiB.
    """
    with needs_extra("web"):
        from hypercorn import Config  # noqa: PLC0415 - only who serves pays for it

    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = _GRACE_S
    # Only one of the two is imported: trio need not be installed.
    serve_here = cast("_Serve", importlib.import_module(f"hypercorn.{_library()}").serve)
    with anyio.CancelScope(shield=True) as serving:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_in_time, stop, serving)
            # What hypercorn 0.18 makes of being cancelled while connections are open.
            with suppress(asyncio.InvalidStateError):
                await serve_here(app, config, shutdown_trigger=stop.wait)
            tasks.cancel_scope.cancel()


async def _end_in_time(stop: anyio.Event, serving: anyio.CancelScope) -> None:
    await stop.wait()
    serving.deadline = anyio.current_time() + _CLOSING_S
    await anyio.sleep_forever()


def _library() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    return "asyncio"
