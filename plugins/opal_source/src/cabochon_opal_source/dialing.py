"""Byte streams to a server: TCP, through the environment's proxy where there is one, and TLS."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from websockets.uri import WebSocketURI

from cabochon_opal_source.websocket import ConnectionLostError

__all__ = ["dialed", "proxy_for"]

_LONGEST_ANSWER_BYTES = 65_536


@asynccontextmanager
async def dialed(uri: WebSocketURI, context: ssl.SSLContext) -> AsyncGenerator[ByteStream]:
    """Connect to where `uri` leads; leaving closes the connection at once.

    Raises:
        ConnectionLostError: a proxy that can't be used, or that does not let us through.
        OSError: it can't be reached, or TLS fails.
    """
    proxy = proxy_for(uri)
    host, port = (uri.host, uri.port) if proxy is None else (proxy.hostname or "", proxy.port or 80)
    stream: ByteStream = await anyio.connect_tcp(host, port)
    try:
        if proxy is not None:
            await _pass_through(stream, proxy, uri)
        if uri.secure:
            stream = await TLSStream.wrap(
                stream, server_side=False, hostname=uri.host, ssl_context=context, standard_compatible=False
            )
        yield stream
    finally:
        await anyio.aclose_forcefully(stream)


def proxy_for(uri: WebSocketURI) -> SplitResult | None:
    """Return the proxy that the environment names for a WebSocket, or None.

    `ws_proxy` or `wss_proxy` comes first, then what goes for HTTP, then `all_proxy`; `no_proxy` excepts hosts.

    Raises:
        ConnectionLostError: it is not one that speaks HTTP.
    """
    proxies = getproxies()
    names = ("wss", "https", "all") if uri.secure else ("ws", "http", "all")
    found = next((proxies[name] for name in names if proxies.get(name)), None)
    if found is None or proxy_bypass(f"{uri.host}:{uri.port}"):
        return None
    try:
        proxy = urlsplit(found if "://" in found else f"http://{found}")
        usable = proxy.scheme == "http" and proxy.hostname and proxy.port != 0  # the port is checked when it is read
        if usable:
            return proxy
    except ValueError:
        pass
    raise ConnectionLostError(f"the environment's {names[0]}, {names[1]} or all_proxy is no http:// URL")


async def _pass_through(stream: ByteStream, proxy: SplitResult, uri: WebSocketURI) -> None:
    """Ask a proxy for a tunnel (RFC 9110, section 9.3.6)."""
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    lines = [f"CONNECT {host}:{uri.port} HTTP/1.1", f"Host: {host}:{uri.port}"]
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}")
    await stream.send("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if len(answer) > _LONGEST_ANSWER_BYTES:
            raise ConnectionLostError("the proxy does not answer in HTTP")
        # Byte by byte: what follows belongs to the server.
        answer += await stream.receive(1)
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        shown = status[0].decode("ascii", "replace") if status and status[0].isdigit() else "no status"
        raise ConnectionLostError(f"the proxy answered with {shown}")
