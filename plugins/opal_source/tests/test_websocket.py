"""The client's side of a WebSocket, without any I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon_opal_source.session import Session
from cabochon_opal_source.websocket import ConnectionLostError, TokenRefusedError, WebSocket

from . import frames
from .frames import SUBSCRIPTION, URI, notify, taken, update, upgraded

MESSAGES = [
    notify(update("one"), call_id="1"),
    notify(update("two", {"text": "Jörg" * 100}), call_id="2"),
    notify({"old_policy_hash": "a", "new_policy_hash": "b", "changed_directories": ["app"]}, "policy:app", "3"),
    notify(7, call_id="4"),
    '{"request": {"method": "_ping_", "arguments": {}, "call_id": "5"}}',
    notify(update("three", "x" * 70_000), call_id="6"),
]
STREAM = frames.text(*MESSAGES[:3]) + frames.fragments(b"", MESSAGES[3].encode(), b"") + frames.text(*MESSAGES[4:])


def everything(cuts: list[int]) -> tuple[list[str], list[object]]:
    """Feed the stream in pieces; the events and the answers."""
    websocket, session = upgraded(), Session(SUBSCRIPTION)
    session.outbox.clear()
    events: list[str] = []
    answers: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        if start < end:
            events += map(repr_of, taken(session, websocket.receive(STREAM[start:end])))
        websocket.send(session.outbox)
        session.outbox.clear()
        answers += frames.sent(websocket)
    return events, answers


def repr_of(event: object) -> str:
    found = getattr(event, "update", None)
    return repr(event) if found is None else f"{found.id}: {found.entries[0].inline}"


@given(st.lists(st.integers(0, len(STREAM)), max_size=30).map(sorted))
def test_any_split_gives_the_same(cuts: list[int]) -> None:
    """
    However the stream is cut into chunks: the same events, the same answers, in the same order.
    """
    events, answers = everything(cuts)

    assert everything([]) == (events, answers)
    assert ["1", "2", "3", "4", "5", "6"] == [answer["response"]["call_id"] for answer in answers]  # type: ignore[index]
    assert 4 == len(events)


def test_too_large_message_names_the_setting() -> None:
    """
    A message beyond the bound ends the connection, and the reason says which setting bounds it.
    """
    websocket = upgraded(max_bytes=1000)

    assert [] == websocket.receive(frames.text("x" * 1001))
    with pytest.raises(ConnectionLostError, match=r"larger than 1000 bytes \(OPAL_SOURCE_MAX_MESSAGE_BYTES\)"):
        websocket.check()


def test_too_large_message_in_pieces_is_refused() -> None:
    """
    The bound is that of the message, not of its pieces.
    """
    websocket = upgraded(max_bytes=1000)

    websocket.receive(frames.fragments(b"x" * 600, b"x" * 600))

    with pytest.raises(ConnectionLostError, match="OPAL_SOURCE_MAX_MESSAGE_BYTES"):
        websocket.check()


def test_messages_before_the_end_are_given() -> None:
    """
    What was complete when the stream ended is not lost.
    """
    websocket = upgraded()

    assert [b"last"] == websocket.receive(frames.text("last") + b"\x88\x00")
    with pytest.raises(ConnectionLostError, match="closed the connection with code"):
        websocket.check()
    websocket.receive(b"")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "answered the upgrade to WebSocket with 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answered the upgrade to WebSocket with 200"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak WebSocket"),
        (b"", "does not speak WebSocket|the connection broke"),
    ],
    ids=["unavailable", "http", "ssh", "nothing"],
)
def test_no_upgrade_is_no_connection(answer: bytes, reason: str) -> None:
    """
    Whatever else the server answers to the upgrade is the reason why there is no connection.
    """
    websocket = WebSocket(URI, {}, max_bytes=1)

    websocket.receive(answer)

    with pytest.raises(ConnectionLostError, match=reason):
        websocket.check()


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_is_named(status: int) -> None:
    """
    401 and 403 are about the token: the reason names its variable.
    """
    websocket = WebSocket(URI, {}, max_bytes=1)

    websocket.receive(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())

    with pytest.raises(TokenRefusedError, match=f"OPAL_CLIENT_TOKEN .{status}."):
        websocket.check()
