"""The scripted HTTP server does as it is told."""

import http.client
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from anyio import to_thread

from cabochon.testing.http_server import Answer, ScriptedHttpServer


@pytest.fixture
def server() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer() as server:
        yield server


def ask(
    server: ScriptedHttpServer,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_route_answers_with_status_headers_and_json(server: ScriptedHttpServer) -> None:
    """What the route says is sent; its URL comes back."""
    url = server.route("/users", status=201, json={"alice": 1}, headers={"X-Answer": "yes"})

    assert f"{server.url}/users" == url
    assert (201, b'{"alice": 1}') == ask(server, "/users")


def test_unknown_path_is_not_found(server: ScriptedHttpServer) -> None:
    """A path without a route gets 404."""
    assert 404 == ask(server, "/nowhere")[0]


def test_answers_come_in_turn_and_the_last_stays(server: ScriptedHttpServer) -> None:
    """A script is played once; its last answer repeats."""
    server.route("/turns", Answer(body="a"), Answer(body="b"))

    assert [b"a", b"b", b"b"] == [ask(server, "/turns")[1] for _ in range(3)]


def test_failures_come_first(server: ScriptedHttpServer) -> None:
    """`fail_times` failures come before the answer."""
    server.route("/flaky", body="well", fail_times=2, fail_status=500)

    assert [500, 500, 200] == [ask(server, "/flaky")[0] for _ in range(3)]


def test_answer_may_follow_from_the_request(server: ScriptedHttpServer) -> None:
    """A function makes an answer of the request."""
    server.route("/echo", lambda request: Answer(body=request.body + request.query.encode()))

    assert b"hello?" == ask(server, "/echo??", method="POST", body=b"hello")[1]


def test_requests_are_recorded_as_they_came(server: ScriptedHttpServer) -> None:
    """Method, path, query, headers, body and time are kept."""
    before = time.monotonic()
    ask(server, "/a?b=c", method="PUT", body=b'{"d": 1}', headers={"X-Seen": "yes"})
    (request,) = server.requests

    assert ("PUT", "/a", "b=c", "yes", {"d": 1}) == (
        request.method,
        request.path,
        request.query,
        request.headers["x-seen"],
        request.json(),
    )
    assert before <= request.at <= time.monotonic()


def test_held_answer_waits_for_its_event(server: ScriptedHttpServer) -> None:
    """An answer that is held comes when its event is set."""
    hold = threading.Event()
    server.route("/held", body="late", hold=hold)
    answers: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: answers.append(ask(server, "/held")))
    asking.start()
    asking.join(0.05)

    assert not answers
    hold.set()
    asking.join(10)
    assert [(200, b"late")] == answers


def test_connection_is_broken_on_request(server: ScriptedHttpServer) -> None:
    """`disconnect` breaks the connection instead of answering, or after its chunks."""
    server.route("/reset", disconnect=True)
    server.route("/torn", chunks=lambda: [b"half"], disconnect=True)

    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        ask(server, "/reset")
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(server, "/torn")


def test_chunks_are_sent_one_by_one(server: ScriptedHttpServer) -> None:
    """A body may be made while it is sent."""
    server.route("/chunks", chunks=lambda: (b"%d" % number for number in range(5)))

    assert (200, b"01234") == ask(server, "/chunks")


def test_leaving_ends_every_thread_and_what_is_held() -> None:
    """Nothing outlives the server: no idle connection, no answer in waiting."""
    before = set(threading.enumerate())
    with ScriptedHttpServer() as server:
        server.route("/held", hold=threading.Event())
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        idle.request("GET", "/")
        idle.getresponse().read()
        held = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        held.request("GET", "/held")

    assert set() == set(threading.enumerate()) - before
    idle.close()
    held.close()


async def test_wait_for_requests_returns_when_they_came(server: ScriptedHttpServer) -> None:
    """A test waits for what it caused, not for a time."""
    await to_thread.run_sync(ask, server, "/one")
    await server.wait_for_requests(1, path="/one")

    with pytest.raises(TimeoutError):
        await server.wait_for_requests(2, within_s=0.02)
