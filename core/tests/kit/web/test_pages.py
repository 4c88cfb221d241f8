"""Which requests of web pages are refused, header by header."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from cabochon.kit.web.pages import KeptFromPages, PageGuard, PageSettings, is_loopback, json_fault

CONSOLE = "https://console.example"


def guard(*, is_open: bool = True, listens_on: str = "127.0.0.1", name: str = "", **settings: Any) -> PageGuard:
    return PageGuard(
        PageSettings.model_validate(settings), free={"/health"}, is_open=is_open, listens_on=listens_on, name=name
    )


def refused(pages: PageGuard, path: str = "/data", **headers: str) -> bool:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return pages.fault(path, raw) is not None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"host": "127.0.0.1:7002"}, False),
        ({"host": "localhost:7002"}, False),
        ({"host": "[::1]:7002"}, False),
        ({"host": "opal.localhost"}, False),
        ({"host": "127.0.0.1:7002", "origin": "http://127.0.0.1:7002", "sec_fetch_site": "same-origin"}, False),
        ({"host": "127.0.0.1:7002", "sec_fetch_site": "none"}, False),
        ({"host": "127.0.0.1:7002", "origin": "http://evil.example"}, True),
        ({"host": "127.0.0.1:7002", "origin": "http://127.0.0.1:8000", "sec_fetch_site": "same-site"}, True),
        ({"host": "127.0.0.1:7002", "origin": "http://localhost:7002"}, True),
        ({"host": "127.0.0.1:7002", "origin": "null"}, True),
        ({"host": "127.0.0.1:7002", "origin": ""}, True),
        ({"host": "127.0.0.1:7002", "sec_fetch_site": "cross-site"}, True),
        ({"host": "127.0.0.1:7002", "sec_fetch_site": "same-site"}, True),
        ({"host": "evil.example:7002"}, True),
        ({"host": "evil.example:7002", "origin": "http://evil.example:7002"}, True),
        ({"host": "127.0.0.1.evil.example"}, True),
        ({"host": "localhost.evil.example"}, True),
        ({"host": "192.168.1.7:7002"}, True),
        ({"host": "127.0.0.1@evil.example"}, True),
        ({"host": "[::1"}, True),
        ({"host": ""}, True),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType, reportUnknownLambdaType]
)
def test_open_and_on_loopback_takes_programs_and_its_own_pages_only(headers: dict[str, str], *, expected: bool) -> None:
    """
    A page of elsewhere, and one that has rebound its name, are refused; nothing keeps them from what is free.
    """
    assert expected == refused(guard(), **headers)
    assert not refused(guard(), "/health", **headers)


def test_every_header_counts_where_one_comes_twice() -> None:
    """
    A good one does not vouch for a bad one.
    """
    for name, good, bad in (("host", "localhost", "evil.example"), ("origin", CONSOLE, "http://evil.example")):
        pages = guard(OPAL_ALLOWED_ORIGINS=CONSOLE)
        for values in ((good, bad), (bad, good)):
            assert pages.fault("/data", [(name.encode(), value.encode()) for value in values])


@pytest.mark.parametrize("more", [{"is_open": False}, {"listens_on": "0.0.0.0"}, {"name": "proxied.example"}])
def test_name_is_looked_at_only_where_it_is_all_there_is(more: dict[str, Any]) -> None:
    """
    With keys, or beyond loopback, any name may lead here; a foreign page is refused even so.
    """
    assert not refused(guard(**more), host="proxied.example:7002")
    assert not refused(guard(**more), host="proxied.example", origin="https://proxied.example")
    assert refused(guard(**more), host="proxied.example", origin="http://evil.example")


def test_pages_and_names_are_allowed_by_name() -> None:
    """
    `*` allows every name, and no page.
    """
    named = guard(OPAL_ALLOWED_ORIGINS=f"{CONSOLE.upper()}/", OPAL_ALLOWED_HOSTS="proxied.example")
    assert not refused(named, host="localhost:7002", origin=CONSOLE, sec_fetch_site="cross-site")
    assert not refused(named, host="Proxied.example:443")
    assert refused(named, host="other.example")
    assert not refused(guard(OPAL_ALLOWED_HOSTS="*"), host="other.example")
    assert refused(guard(OPAL_ALLOWED_ORIGINS="*"), host="localhost:7002", origin=CONSOLE)


def test_refusals_are_logged_once_an_interval() -> None:
    """
    A page that tries a thousand times writes one line.
    """
    pages = guard()
    with capture_logs() as logs:
        for _ in range(1_000):
            refused(pages, host="evil.example")

    assert [("page.refused", 1)] == [(line["event"], line["times"]) for line in logs]


async def test_middleware_answers_403_and_opens_no_websocket() -> None:
    """
    What is behind it hears nothing of either.
    """
    asked: list[str] = []

    async def app(scope: dict[str, Any], _receive: object, _send: object) -> None:
        await anyio.lowlevel.checkpoint()
        asked.append(scope["type"])

    async def sent(kind: str, **headers: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            await anyio.lowlevel.checkpoint()
            messages.append(message)

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": kind, "path": "/data", "headers": raw}
        await KeptFromPages(app, guard())(scope, lambda: send({}), send)  # pyright: ignore[reportArgumentType]
        return messages

    refused_http = await sent("http", origin="http://evil.example")
    refused_socket = await sent("websocket", origin="http://evil.example")
    assert [403, None] == [message.get("status") for message in refused_http]
    assert ["websocket.close"] == [message["type"] for message in refused_socket]
    await sent("http")
    await sent("lifespan")
    assert ["http", "lifespan"] == asked


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "Application/JSON; charset=utf-8", "application/a+json"]
)
def test_json_has_its_content_type_or_none(kind: str | None) -> None:
    """
    As the peer takes it.
    """
    assert json_fault(kind) is None


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
def test_other_content_type_is_named(kind: str) -> None:
    """
    Each of these can be sent by a page that asks nobody.
    """
    assert kind in (json_fault(kind) or "")


def test_only_this_machine_is_loopback() -> None:
    """
    As an address or as a name that can't be bound to another.
    """
    assert [True, True, True, False, False] == [
        is_loopback(host) for host in ("127.9.9.9", "::1", "localhost", "0.0.0.0", "localhost.example")
    ]
