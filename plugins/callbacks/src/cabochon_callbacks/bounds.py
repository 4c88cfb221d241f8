"""Where callbacks may lead, by the address of each connection: one that is out of bounds is given no byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from cabochon.kit.http.reach import Reach

__all__ = ["check_before"]

_PORTS = {"http": 80, "https": 443}


async def check_before(request: httpx.Request, reach: Reach) -> None:
    """Check where a request leads by itself, and have the connection that is made for it checked.

    Raises:
        OutOfReachError: it is out of bounds; sending the request may raise it too.
    """
    url = request.url
    host, port = url.host, url.port or _PORTS.get(url.scheme, 0)
    proxies = getproxies()
    proxied = bool(proxies.get(url.scheme) or proxies.get("all")) and not proxy_bypass(host)
    await reach.check_url(url.scheme, host, port, at_a_distance=proxied)
    connecting_to = ""

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        nonlocal connecting_to
        if event == "connection.connect_tcp.started":
            connecting_to = str(info["host"])
        elif event == "connection.connect_tcp.complete" and _is(connecting_to, url):
            # Of any other host there is only the operator's proxy.
            stream = info["return_value"]
            try:
                await reach.check(host, port, str(stream.get_extra_info("server_addr")[0]))
            except BaseException:
                await stream.aclose()
                raise

    request.extensions["trace"] = trace


def _is(host: str, url: httpx.URL) -> bool:
    return host.strip("[]").encode() == url.raw_host.strip(b"[]")
