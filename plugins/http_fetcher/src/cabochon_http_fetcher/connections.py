"""The fetcher's one pool of connections.

Each connection is an httpx transport of its own. In httpx's own pool every request looks at, and asks the kernel about,
every idle connection, twice: at 16 connections that costs more than all the rest of a request.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx
from anyio import to_thread

from cabochon.errors import ConfigurationError
from cabochon.tls import client_context

__all__ = ["Connections", "Tls"]

_KEEPALIVE_S = 15.0
_CLOSE_S = 2.0
_CONTEXTS = 16


class Tls(NamedTuple):
    """What one entry wants other than the settings say."""

    verify: bool
    ca_file: str | None
    client_cert: str | None
    client_key: str | None


_Stamped: TypeAlias = tuple[Tls, tuple[int, ...]]
_Key: TypeAlias = tuple[_Stamped | None, bytes, bytes, int | None]


class _Idle(NamedTuple):
    key: _Key
    connection: httpx.AsyncHTTPTransport
    since: float


class Connections:
    """Gives each request a connection: one that is idle, else a new one, else the next that comes free."""

    def __init__(self, context: ssl.SSLContext, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._contexts: OrderedDict[_Stamped, ssl.SSLContext] = OrderedDict()
        self._free = anyio.Semaphore(limit, fast_acquire=True)
        self._limit = limit
        self._idle: list[_Idle] = []  # the longest idle first
        self._busy = 0
        self._clock = clock
        self._proxies = getproxies()

    @asynccontextmanager
    async def answer(self, request: httpx.Request, tls: Tls | None) -> AsyncGenerator[httpx.Response]:
        """Send a request and give its answer, the body still to be read; leaving ends it, whatever was read.

        Raises:
            ConfigurationError: a file of `tls` or a proxy of the environment can't be used.
            httpx.TransportError: it did not go well.
        """
        async with self._free:
            stamped = None if tls is None else (tls, _stamps(tls))
            url = request.url
            key = (stamped, url.raw_scheme, url.raw_host, url.port)
            connection = await self._take(key) or self._new(await self._context_for(stamped), url)
            self._busy += 1
            usable = False
            try:
                response = await connection.handle_async_request(request)
                try:
                    yield response
                finally:
                    with anyio.move_on_after(_CLOSE_S, shield=True):
                        await response.aclose()
                    usable = True
            finally:
                self._busy -= 1
                if usable:
                    self._idle.append(_Idle(key, connection, self._clock()))
                else:
                    await _close(connection)

    async def aclose(self) -> None:
        """Close every idle connection; those in use are closed by whoever uses them."""
        while self._idle:
            await _close(self._idle.pop().connection)

    async def _take(self, key: _Key) -> httpx.AsyncHTTPTransport | None:
        """The connection to this origin that was used last; what is idle for too long, or in the way, is closed."""
        while self._idle and self._idle[0].since + _KEEPALIVE_S < self._clock():
            await _close(self._idle.pop(0).connection)
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].key == key:
                return self._idle.pop(index).connection
        while self._idle and self._busy + len(self._idle) >= self._limit:
            await _close(self._idle.pop(0).connection)
        return None

    def _new(self, context: ssl.SSLContext, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if proxy and proxy_bypass(url.host):
            proxy = None
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE_S)
        try:
            return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False)
        except (ImportError, ValueError, httpx.InvalidURL) as err:
            raise ConfigurationError(f"the environment's proxy for {url.scheme} can't be used") from err

    async def _context_for(self, stamped: _Stamped | None) -> ssl.SSLContext:
        if stamped is None:
            return self._context
        context = self._contexts.get(stamped)
        if context is None:
            tls = stamped[0]
            context = await to_thread.run_sync(lambda: client_context(**tls._asdict()))
            self._contexts[stamped] = context
            while len(self._contexts) > _CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(stamped)
        return context


def _stamps(tls: Tls) -> tuple[int, ...]:
    """When the files were written: certificates that were renewed are read again."""
    return tuple(_stamp(name) for name in (tls.ca_file, tls.client_cert, tls.client_key) if name)


def _stamp(name: str) -> int:
    try:
        return os.stat(Path(name).expanduser()).st_mtime_ns  # noqa: PTH116 # the quicker of the two
    except OSError:
        return 0


async def _close(connection: httpx.AsyncHTTPTransport) -> None:
    with anyio.move_on_after(_CLOSE_S, shield=True):
        await connection.aclose()
