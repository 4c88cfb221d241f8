"""What becomes of answers that are no documents, and of entries that can't be fetched."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from cabochon.contract.fetcher import Fetcher
from cabochon.errors import FetchError, FetchStatusError
from cabochon.testing.http_server import Answer, ScriptedHttpServer


async def error_of(fetcher: Fetcher, url: str, **config: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(url, config)
    return caught.value


@pytest.mark.parametrize(("status", "again"), [(400, False), (401, False), (404, False), (410, False), (304, False)])
async def test_refusing_status_is_final(
    fetcher: Fetcher,
    server: ScriptedHttpServer,
    status: int,
    again: bool,  # noqa: FBT001 # a column of the table
) -> None:
    """4xx does not change by asking again, and the error says which it was."""
    error = await error_of(fetcher, server.route("/x", status=status))

    assert isinstance(error, FetchStatusError)
    assert (status, again) == (error.status_code, error.again)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_failing_status_may_pass(fetcher: Fetcher, server: ScriptedHttpServer, status: int) -> None:
    """Overload and failures of the server may pass."""
    error = await error_of(fetcher, server.route("/x", status=status))

    assert isinstance(error, FetchStatusError)
    assert (status, True, None) == (error.status_code, error.again, error.retry_after_s)


async def test_status_error_names_url_status_and_reason(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """The message says what was asked, with the query masked, and what came; `url` alone is safe to show."""
    server.route("/x", status=404)
    error = await error_of(fetcher, f"http://bob:hunter2@127.0.0.1:{server.port}/x?key=t0ken")

    assert f"GET {server.url}/x?key=*** was answered with 404 Not Found" == str(error)
    assert f"{server.url}/x?key=***" == error.url


async def test_retry_after_in_seconds_is_passed_on(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """A source that asks for a pause in seconds gets it."""
    error = await error_of(fetcher, server.route("/x", status=429, headers={"Retry-After": "17"}))

    assert (True, 17.0) == (error.again, error.retry_after_s)


async def test_retry_after_as_a_date_is_passed_on(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """A source that names the moment to come back gets its pause."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    error = await error_of(fetcher, server.route("/x", status=503, headers={"Retry-After": date}))

    assert error.retry_after_s == pytest.approx(60, abs=5)


async def test_refused_connection_may_pass(fetcher: Fetcher) -> None:
    """Nobody listens: the error says so in the system's words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await error_of(fetcher, f"http://127.0.0.1:{unused.getsockname()[1]}/x")

    assert error.again
    assert "Connection refused" in str(error)


async def test_unknown_host_may_pass(fetcher: Fetcher) -> None:
    """A name that does not resolve now may resolve later."""
    error = await error_of(fetcher, "http://no-such-host.invalid/x")

    assert error.again
    assert "can't be reached" in str(error)


@pytest.mark.parametrize(
    "answer",
    [Answer(disconnect=True), Answer(chunks=lambda: [b'{"a":'], disconnect=True)],
    ids=["before", "in the body"],
)
async def test_broken_connection_may_pass(fetcher: Fetcher, server: ScriptedHttpServer, answer: Answer) -> None:
    """A connection that breaks before or in the answer is no refusal."""
    error = await error_of(fetcher, server.route("/x", answer))

    assert error.again


async def test_answer_that_is_no_http_may_pass(fetcher: Fetcher) -> None:
    """What was received instead of HTTP is not repeated."""

    def talk(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"220 s3cret.example ESMTP\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        talking = threading.Thread(target=talk, args=(listener,))
        talking.start()
        error = await error_of(fetcher, f"http://127.0.0.1:{listener.getsockname()[1]}/x")
        talking.join()

    assert error.again
    assert "s3cret" not in str(error)
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"method": "GET"}, "config.method"),
        ({"method": "brew"}, "config.method"),
        ({"headers": {"X-Key": 5}}, "config.headers"),
        ({"headers": {"X-Key": "s3cret\r\nX-Other: 1"}}, "'X-Key'"),
        ({"is_json": "yes"}, "config.is_json"),
        ({"timeout": 0}, "config.timeout"),
        ({"max_redirects": -1}, "config.max_redirects"),
        ({"ca_file": "/no/such/file"}, "ca_file '/no/such/file'"),
        ({"client_cert": "/no/such/file"}, "client_cert '/no/such/file'"),
        ({"client_key": "/no/such/file"}, "client_key"),
    ],
)
async def test_wrong_config_names_the_member(
    fetcher: Fetcher, server: ScriptedHttpServer, config: dict[str, Any], named: str
) -> None:
    """A wrong member is named, is not asked for again, and nothing is sent."""
    error = await error_of(fetcher, server.route("/x", json={}), **config)

    assert not error.again
    assert named in str(error)
    assert "s3cret" not in str(error)
    assert [] == server.requests


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/users",
        "users",
        "ftp://127.0.0.1/x",
        "http://",
        "http:///x",
        "http://[::1/x",
        "http://h:port/x",
        "http://h\n/x",
    ],
)
async def test_url_that_is_none_is_final(fetcher: Fetcher, url: str) -> None:
    """What is no HTTP URL never becomes one."""
    error = await error_of(fetcher, url)

    assert not error.again
