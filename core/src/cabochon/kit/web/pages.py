"""Web pages kept out: what a browser carries here from elsewhere has no authority of its own.

A page in a browser may send requests to the machine that the browser runs on, and one that lets its own name point
there ("DNS rebinding") may read the answers too. No key stands between it and a server or agent that needs none: what
tells such a request is what a browser says of the page, `Origin` and `Sec-Fetch-Site`, and the name it thinks it speaks
to, `Host`. Programs send no `Origin`.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

import structlog
from pydantic import Field

from cabochon.kit.web.server import App, Receive, Scope, Send
from cabochon.settings.model import CommaList, Settings

__all__ = ["KeptFromPages", "PageGuard", "PageSettings", "is_loopback", "json_fault"]

log = structlog.get_logger()

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

_SAID_EVERY_S = 10.0
_LONGEST_SHOWN = 80
_LOOKED_AT = frozenset({b"host", b"origin", b"sec-fetch-site"})
_NOT_FROM_ELSEWHERE = frozenset({"same-origin", "none"})


class PageSettings(Settings):
    """Which web pages may call, and by which names."""

    allowed_origins: CommaList = Field(
        default=("*",),
        validation_alias="OPAL_ALLOWED_ORIGINS",
        description="Origins of web pages that may use the whole HTTP API, such as https://console.example, separated "
        "by commas. With * every page may read what is for everyone (health, the description of the API), and none may "
        "do or read anything else.",
    )
    allowed_hosts: CommaList = Field(
        default=(),
        validation_alias="OPAL_ALLOWED_HOSTS",
        description="Names, beside those of this machine itself, under which a server or agent without keys may be "
        "asked where it listens on this machine alone, such as that of a proxy in front; * for any.",
    )


class PageGuard:
    """Says which requests may come from a web page that has no business here.

    Args:
        settings: which pages and names are allowed.
        free: paths that every page may ask, such as those of health.
        is_open: no keys are set, so that whoever gets through may do everything.
        listens_on: the address that requests come to.
        name: what the operator calls that address, which counts as its name.
    """

    def __init__(
        self, settings: PageSettings, *, free: Collection[str], is_open: bool, listens_on: str, name: str = ""
    ) -> None:
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins) - {"*"}
        self._hosts = frozenset(host.lower() for host in (*settings.allowed_hosts, name) if host)
        self._free = frozenset(free)
        self._wants_our_name = is_open and is_loopback(listens_on)
        self._unsaid = 0
        self._said_at = float("-inf")

    def fault(self, path: str, headers: Headers) -> str | None:
        """Say why a request is refused, None if it is not; what is refused is logged, seldom if it is often."""
        if path in self._free:
            return None
        found: dict[bytes, list[str]] = {name: [] for name in _LOOKED_AT}
        for name, value in headers:
            if name in _LOOKED_AT:
                found[name].append(value.decode("latin-1").strip().lower())
        hosts, origins = found[b"host"], found[b"origin"]
        fault = self._host_fault(hosts) or self._page_fault(hosts, origins, found[b"sec-fetch-site"])
        if fault is not None:
            self._say(path, fault)
        return fault

    def _host_fault(self, hosts: list[str]) -> str | None:
        if not self._wants_our_name:
            return None
        for host in hosts:
            if not (is_loopback(_name_of(host)) or self._is_named(host)):
                return f"{_shown(host)} is not a name of this machine itself: OPAL_ALLOWED_HOSTS may allow it"
        return None

    def _page_fault(self, hosts: list[str], origins: list[str], sites: list[str]) -> str | None:
        if origins and self._origins.issuperset(origins):
            return None
        for origin in origins:
            # Some programs send one too: the address that they speak to.
            if origin not in self._origins and [origin.partition("://")[2]] != hosts:
                return f"a web page of {_shown(origin)} may not use this: OPAL_ALLOWED_ORIGINS may allow it by name"
        if not _NOT_FROM_ELSEWHERE.issuperset(sites):
            return "a web page of another site may not use this: OPAL_ALLOWED_ORIGINS may allow it by name"
        return None

    def _is_named(self, host: str) -> bool:
        return "*" in self._hosts or _name_of(host) in self._hosts

    def _say(self, path: str, fault: str) -> None:
        self._unsaid += 1
        now = time.monotonic()
        if now - self._said_at >= _SAID_EVERY_S:
            log.warning("page.refused", path=path[:_LONGEST_SHOWN], why=fault, times=self._unsaid)
            self._said_at, self._unsaid = now, 0


class KeptFromPages:
    """ASGI middleware that asks a guard: who is refused gets 403, and a WebSocket is not opened."""

    def __init__(self, app: App, guard: PageGuard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        fault = self._guard.fault(scope["path"], scope["headers"]) if scope["type"] != "lifespan" else None
        if fault is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"vary", b"Origin")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps({"detail": fault}).encode()})


def is_loopback(host: str) -> bool:
    """Tell whether an address, or a name, can only be this machine's own."""
    if host in {"localhost", "localhost."} or host.endswith((".localhost", ".localhost.")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def json_fault(content_type: str | None) -> str | None:
    """Say what is wrong with a JSON body's content type, None if nothing is; it may be missing, as for the peer.

    A page can send other types without asking first (`text/plain`, forms); JSON it can't.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    if not kind or (main == "application" and (sub == "json" or sub.endswith("+json"))):
        return None
    return f"the content type should be application/json, and is {_shown(kind)}"


def _name_of(host: str) -> str:
    """Take the name or address out of `name:port`."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _shown(text: str) -> str:
    return ascii(text[:_LONGEST_SHOWN])
