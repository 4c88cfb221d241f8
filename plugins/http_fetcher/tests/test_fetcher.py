"""Documents, bodies, and what becomes of answers that are no documents."""

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from cabochon.contract.fetcher import Fetcher
from cabochon.errors import FetchDecodeError, FetchError, FetchTimeoutError
from cabochon.testing.http_server import ScriptedHttpServer

RAW = b'{"a": 1}'


async def error_of(fetcher: Fetcher, url: str, **config: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(url, config)
    return caught.value


# --------------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
async def test_request_uses_the_method_of_the_config(fetcher: Fetcher, server: ScriptedHttpServer, method: str) -> None:
    """An entry names its method as the peer writes it, in lower case."""
    await fetcher.fetch(server.route("/x", json={}), {"method": method})

    assert [method.upper()] == [request.method for request in server.requests]


async def test_head_gives_an_empty_text(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """A HEAD has no document, but it has a text: none."""
    assert b'""' == await fetcher.fetch(server.route("/x", json={}), {"method": "head", "is_json": False})


@pytest.mark.parametrize(
    ("data", "body", "content_type"),
    [
        ({"user": "bob \u00e9", "of": ""}, b"user=bob+%C3%A9&of=", "application/x-www-form-urlencoded"),
        ({"user": "bob", "age": 5}, b'{"user":"bob","age":5}', "application/json"),
        ([1, None], b"[1,null]", "application/json"),
        (9007199254740993, b"9007199254740993", "application/json"),
        ("grant_type=x&a=\u00e9", "grant_type=x&a=\u00e9".encode(), "text/plain; charset=utf-8"),
    ],
    ids=["form", "object", "list", "number", "text"],
)
async def test_request_carries_the_data(
    fetcher: Fetcher,
    server: ScriptedHttpServer,
    data: Any,  # noqa: ANN401 # any JSON
    body: bytes,
    content_type: str,
) -> None:
    """A text is the body as it is, an object of strings a form as in OPAL, anything else goes as JSON."""
    await fetcher.fetch(server.route("/x", json={}), {"method": "post", "data": data})

    (request,) = server.requests
    assert (body, content_type) == (request.body, request.headers["content-type"])


async def test_request_carries_the_headers(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """Headers of the config are sent, in place of ours where they have the same name."""
    await fetcher.fetch(server.route("/x", json={}), {"headers": {"accept": "text/csv", "X-Key": "k"}})

    (request,) = server.requests
    assert ("text/csv", "k") == (request.headers["accept"], request.headers["x-key"])
    assert "gzip, deflate" == request.headers["accept-encoding"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/a%2Fb%41/%e9?sig=a%2Fb%2Bc+d%3D&t=1:2", "/a%2Fb%41/%e9?sig=a%2Fb%2Bc+d%3D&t=1:2"),
        ("/a b/é?q=é x#part", "/a%20b/%C3%A9?q=%C3%A9%20x"),
        ("?a=1", "/?a=1"),
    ],
)
async def test_path_and_query_are_sent_as_written(
    fetcher: Fetcher, server: ScriptedHttpServer, written: str, sent: str
) -> None:
    """A signature in a URL stays right: only what no URL can hold is escaped."""
    server.route(sent.partition("?")[0], json={})
    await fetcher.fetch(f"{server.url}{written}", {})
    (request,) = server.requests

    assert sent == f"{request.path}?{request.query}"


async def test_host_may_be_an_ipv6_address_or_have_an_international_name(fetcher: Fetcher) -> None:
    """Either is a host that can be looked for."""
    for url in ("http://[::1]:1/x", "http://bücher.invalid/x"):
        assert "can't be reached" in str(await error_of(fetcher, url))


async def test_user_and_password_of_the_url_are_sent_as_basic(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """What stands before the @ is sent as Basic authentication, percent-decoded."""
    server.route("/x", json={})
    await fetcher.fetch(f"http://bob:p%40ss@127.0.0.1:{server.port}/x", {})

    assert "Basic Ym9iOnBAc3M=" == server.requests[0].headers["authorization"]


async def test_cookies_are_not_kept(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """What one answer sets is not sent with the next entry's request."""
    url = server.route("/x", json={}, headers={"Set-Cookie": "session=1; Path=/"})
    for _ in range(2):
        await fetcher.fetch(url, {})

    assert not any("cookie" in request.headers for request in server.requests)


# -------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(RAW)),
        ("X-GZIP", gzip.compress(RAW)),
        ("gzip", gzip.compress(RAW[:3]) + gzip.compress(RAW[3:])),
        ("deflate", zlib.compress(RAW)),
        ("deflate", zlib.compress(RAW)[2:-4]),
        ("deflate, gzip", gzip.compress(zlib.compress(RAW))),
        ("identity", RAW),
    ],
    ids=["gzip", "x-gzip", "two members", "deflate", "raw deflate", "both", "none"],
)
async def test_compressed_document_is_unpacked(
    fetcher: Fetcher, server: ScriptedHttpServer, coding: str, body: bytes
) -> None:
    """gzip and both kinds of deflate are understood."""
    url = server.route("/x", body=body, headers={"Content-Encoding": coding})

    assert RAW == await fetcher.fetch(url, {})


async def test_document_comes_raw(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """The document's own bytes come, without a byte order mark and the space around them."""
    url = server.route("/x", body=b'\xef\xbb\xbf {"b" : 1.50, "a":1e400}\n')

    assert b'{"b" : 1.50, "a":1e400}' == await fetcher.fetch(url, {})


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"user":"bob"}'),
        ("application/x-www-form-urlencoded; charset=utf-8", b"user=bob"),
    ],
)
async def test_header_says_how_an_object_is_sent(
    fetcher: Fetcher, server: ScriptedHttpServer, content_type: str, body: bytes
) -> None:
    """An entry that asks for JSON by its own header gets JSON."""
    config = {"method": "post", "data": {"user": "bob"}, "headers": {"content-TYPE": content_type}}
    await fetcher.fetch(server.route("/x", json={}), config)

    (request,) = server.requests
    assert (body, content_type) == (request.body, request.headers["content-type"])


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ('{"a":"h\u00e9"}'.encode("latin-1"), "ISO-8859-1"),
        ('{"a":"h\u00e9"}'.encode(), "ISO-8859-1"),
        ('{"a":"h\u00e9"}'.encode("utf-16"), "utf-16"),
    ],
    ids=["latin-1", "named wrongly", "utf-16"],
)
async def test_json_in_another_charset_is_read(
    fetcher: Fetcher, server: ScriptedHttpServer, body: bytes, charset: str
) -> None:
    """What is no UTF-8 is in the charset that the answer names."""
    url = server.route("/x", body=body, headers={"Content-Type": f"application/json; charset={charset}"})

    assert '{"a":"h\u00e9"}' == (await fetcher.fetch(url, {})).decode()


@pytest.mark.parametrize("config", [{"is_json": False}, {"process_data": False}])
@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ('say "h\u00e9"\n'.encode(), "text/plain", 'say "h\u00e9"\n'),
        ("h\u00e9".encode("latin-1"), "text/plain; charset=ISO-8859-1", "h\u00e9"),
        ("\u65e5\u672c".encode("shift_jis"), "text/csv; charset=shift_jis", "\u65e5\u672c"),
        (b"h\xe9", "text/plain; charset=utf-8", "h\ufffd"),
        (b"h\xc3\xa9", "text/plain; charset=no-such-thing", "h\u00e9"),
        (b"h\xc3\xa9", "text/plain; charset=zlib", "h\u00e9"),
        (b"\\ud800", "text/plain; charset=unicode_escape", "\\ud800"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
    ],
)
async def test_text_becomes_a_json_string(
    fetcher: Fetcher, server: ScriptedHttpServer, config: dict[str, Any], body: bytes, content_type: str, text: str
) -> None:
    """What is not taken as JSON becomes a string, read in the charset that the answer names."""
    url = server.route("/x", body=body, headers={"Content-Type": content_type})

    assert text == json.loads(await fetcher.fetch(url, config))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "an empty body"),
        (b"<html>maintenance</html>", "24 bytes of 'text/plain'"),
        (b'{"a": "\xe9"}', "not UTF-8 (byte 7)"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": 1', "no JSON"),
    ],
)
async def test_answer_that_is_no_json_is_an_error(
    fetcher: Fetcher, server: ScriptedHttpServer, body: bytes, reason: str
) -> None:
    """What is no JSON raises FetchDecodeError, which says what came but not what it holds; it may pass."""
    error = await error_of(fetcher, server.route("/x", body=body))

    assert isinstance(error, FetchDecodeError)
    assert error.again
    assert reason in str(error)
    assert "maintenance" not in str(error)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"{}"),
        ("gzip", gzip.compress(RAW)[:-9]),
        ("deflate", b"\xff\xff"),
        ("br", b"x"),
        ("gzip, gzip, gzip", b"x"),
    ],
    ids=["not at all", "cut off", "no deflate", "unknown", "too often"],
)
async def test_answer_that_is_not_compressed_as_it_says_is_an_error(
    fetcher: Fetcher, server: ScriptedHttpServer, coding: str, body: bytes
) -> None:
    """A body that does not unpack to its end raises FetchDecodeError, for texts too."""
    url = server.route("/x", body=body, headers={"Content-Encoding": coding})
    error = await error_of(fetcher, url, is_json=False)

    assert isinstance(error, FetchDecodeError)
    assert f"'{coding}'" in str(error)


# ----------------------------------------------------------------------------------------------------------- limits


async def test_document_may_be_as_large_as_the_limit(opened: Callable[..., Any], server: ScriptedHttpServer) -> None:
    """The limit itself is allowed."""
    fetcher = await opened(max_bytes=10)

    assert b'"12345678"' == await fetcher.fetch(server.route("/x", body='"12345678"'), {})


async def test_document_larger_than_the_limit_is_refused(
    opened: Callable[..., Any], server: ScriptedHttpServer
) -> None:
    """A body that says it is too large is not even read; asking again is of no use."""
    fetcher = await opened(max_bytes=9)
    error = await error_of(fetcher, server.route("/x", body='"12345678"'))

    assert isinstance(error, FetchDecodeError)
    assert not error.again
    assert "more than 9 bytes (OPAL_HTTP_FETCHER_MAX_BYTES)" in str(error)


async def test_endless_body_is_cut_at_the_limit(opened: Callable[..., Any], server: ScriptedHttpServer) -> None:
    """A body without an end is left as soon as it passes the limit."""
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield b"x" * 1000

    fetcher = await opened(max_bytes=100_000)
    error = await error_of(fetcher, server.route("/x", chunks=endless))

    assert isinstance(error, FetchDecodeError)
    assert not error.again


async def test_compressed_bomb_is_cut_at_the_limit(opened: Callable[..., Any], server: ScriptedHttpServer) -> None:
    """The limit counts what comes out, not what comes in."""
    bomb = gzip.compress(b"0" * 50_000_000)
    fetcher = await opened(max_bytes=1_000_000)
    error = await error_of(fetcher, server.route("/x", body=bomb, headers={"Content-Encoding": "gzip"}))

    assert len(bomb) < 100_000
    assert isinstance(error, FetchDecodeError)


@pytest.mark.parametrize("where", ["setting", "config"])
async def test_dripping_body_meets_the_timeout(
    opened: Callable[..., Any], server: ScriptedHttpServer, where: str
) -> None:
    """The timeout is for the whole request: a source that sends a byte now and then does not get around it."""
    stop = threading.Event()

    def dripping() -> Iterator[bytes]:
        while not stop.wait(0.02):
            yield b" "

    fetcher = await opened(timeout=timedelta(seconds=0.2 if where == "setting" else 60))
    config = {"timeout": 0.2} if where == "config" else {}
    begin = time.monotonic()
    error = await error_of(fetcher, server.route("/x", chunks=dripping), **config)
    stop.set()

    assert isinstance(error, FetchTimeoutError)
    assert "within 0.2 s" in str(error)
    assert time.monotonic() - begin < 5
