"""What a session makes of the messages of a server, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from cabochon import Connected, DataUpdateReceived, PolicyChanged
from cabochon.documents.json_values import JsonError
from cabochon_opal_source import rpc
from cabochon_opal_source.session import Session, Statistics
from cabochon_opal_source.websocket import ConnectionLostError

from .frames import SUBSCRIPTION, notify, taken, update


@pytest.fixture
def session() -> Session:
    return Session(SUBSCRIPTION)


def calls(session: Session) -> list[dict[str, Any]]:
    """What is in the outbox."""
    found = [json.loads(raw) for raw in session.outbox]
    session.outbox.clear()
    return found


def answered(call: dict[str, Any], result: object) -> str:
    response = {"result": result, "result_type": "x", "call_id": call["request"]["call_id"]}
    return json.dumps({"request": None, "response": response})


def subscribed(statistics: Statistics | None = None) -> Session:
    session = Session(SUBSCRIPTION, statistics)
    for result in ("pong", True):
        (call,) = calls(session)
        events = taken(session, [answered(call, result)])
    assert [Connected(resumed=False)] == events
    return session


def test_pings_then_subscribes(session: Session) -> None:
    """
    First `_ping_`, then `subscribe` with every topic; connected once that is answered with true.
    """
    (ping,) = calls(session)
    assert ("_ping_", {}) == (ping["request"]["method"], ping["request"]["arguments"])
    assert [] == taken(session, [answered(ping, "pong")])

    (subscribe,) = calls(session)
    assert "subscribe" == subscribe["request"]["method"]
    assert {"topics": ["policy_data", "policy:app"]} == subscribe["request"]["arguments"]
    assert not session.subscribed
    assert [Connected(resumed=False)] == taken(session, [answered(subscribe, True)])
    assert session.subscribed


@pytest.mark.parametrize("result", [False, None, "true"])
def test_refused_subscription_is_no_connection(session: Session, result: object) -> None:
    """
    Anything but true says that nothing will come.
    """
    (ping,) = calls(session)
    taken(session, [answered(ping, "pong")])
    (subscribe,) = calls(session)

    with pytest.raises(ConnectionLostError, match="refuses the subscription"):
        taken(session, [answered(subscribe, result)])


@pytest.mark.parametrize(
    ("method", "result"), [("_ping_", "pong"), ("notify", "None")], ids=["ping", "notification of an update"]
)
@pytest.mark.parametrize("call_id", ['a\u00e9"b', None, "0" * 32], ids=["odd", "none", "usual"])
def test_calls_are_answered_under_their_id(session: Session, method: str, result: str, call_id: str | None) -> None:
    """
    The answer has the id of the call, whatever that is, and the peer's result.
    """
    session.outbox.clear()
    ping = json.dumps({"request": {"method": "_ping_", "call_id": call_id}, "response": None})
    taken(session, [ping if method == "_ping_" else notify(update("u"), call_id=call_id)])

    response = {"result": result, "result_type": "str", "call_id": call_id}
    assert [{"request": None, "response": response}] == calls(session)


def test_channel_id_is_the_one_in_the_statistics() -> None:
    """
    The server matches the statistics with the connection by the channel's id.
    """
    session = subscribed(Statistics(channel="__stats", client_id="agent"))
    (publish,) = calls(session)
    taken(session, ['{"request": {"method": "_get_channel_id_", "call_id": "1"}}'])

    (channel,) = calls(session)
    told = publish["request"]["arguments"]
    assert (["__stats"], "agent") == (told["topics"], told["data"]["client_id"])
    assert ["policy_data", "policy:app"] == told["data"]["topics"]
    assert channel["response"]["result"] == told["data"]["rpc_id"]


@pytest.mark.parametrize("topic", ["policy_data", "app-id::policy_data"])
def test_update_comes_with_its_topic(session: Session, topic: str) -> None:
    """
    A tenant's prefix is not part of the topic.
    """
    (event,) = taken(session, [notify(update("u", {"digits": 1}), topic)])

    assert isinstance(event, DataUpdateReceived)
    assert ("u", "policy_data", b'{"digits": 1}') == (event.update.id, event.topic, event.update.entries[0].inline)


BAD: list[object] = [
    None,
    7,
    "text",
    [],
    {},
    {"entries": 7},
    {"entries": [{"url": 1, "dst_path": []}]},
    {"entries": [{}]},
]


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_bad_update_is_answered_logged_and_skipped(session: Session, bad: object) -> None:
    """
    The server waits for an answer to what is no update, too; the log says why it is none.
    """
    session.outbox.clear()
    with capture_logs() as logs:
        events = taken(session, [notify(bad), notify(update("next"), call_id="2")])

    assert ["next"] == [event.update.id for event in events if isinstance(event, DataUpdateReceived)]
    assert ["1", "2"] == [answer["response"]["call_id"] for answer in calls(session)]
    assert ["data_update.malformed"] == [entry["event"] for entry in logs]
    assert session.malformed == 1


@pytest.mark.parametrize("arguments", [None, {}, {"subscription": 7}, {"subscription": {}}, []], ids=repr)
def test_bad_notification_is_answered(session: Session, arguments: object) -> None:
    """
    Arguments that are none of a notification are skipped as well.
    """
    session.outbox.clear()
    raw = json.dumps({"request": {"method": "notify", "arguments": arguments, "call_id": "1"}})

    assert [] == taken(session, [raw])
    assert ["1"] == [answer["response"]["call_id"] for answer in calls(session)]
    assert session.malformed == 1


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["app", "."], ("app",)),
        (["app/rbac", "app", "."], ("app/rbac", "app")),
        (["lib", "."], None),
        (["application"], None),
        ([], ()),
    ],
    ids=["followed", "below", "elsewhere", "alike", "unsaid"],
)
def test_policies_changed_where_we_follow(
    session: Session, changed: list[str], expected: tuple[str, ...] | None
) -> None:
    """
    A policy update is an event if one of the directories is followed or lies below one that is.
    """
    message = {"old_policy_hash": "a", "new_policy_hash": "b", "changed_directories": changed}

    events = taken(session, [notify(message, "policy:app")])

    assert ([] if expected is None else [PolicyChanged("b", expected)]) == events


def test_bad_policy_update_is_skipped(session: Session) -> None:
    """
    What is no policy update message is logged and skipped.
    """
    with capture_logs() as logs:
        assert [] == taken(session, [notify({"new_policy_hash": 7}, "policy:app")])

    assert ["policy_update.malformed"] == [entry["event"] for entry in logs]


@pytest.mark.parametrize("data", [update("u"), {"old_policy_hash": "a"}], ids=["update", "other"])
def test_other_topics_are_ignored(session: Session, data: object) -> None:
    """
    A notification on a topic that was not subscribed to is answered, and is no event.
    """
    session.outbox.clear()

    assert [] == taken(session, [notify(data, "other")])
    assert 1 == len(calls(session))


def test_unknown_call_does_no_harm(session: Session) -> None:
    """
    What an agent does not have, and answers to calls that it did not make, are ignored.
    """
    session.outbox.clear()
    answer = '{"response": {"result": {"a": 1}, "call_id": "unknown"}}'

    assert [] == taken(session, ['{"request": {"method": "shutdown", "call_id": "1"}}', answer, "{}"])
    assert [] == session.outbox


@pytest.mark.parametrize("raw", [b"", b"7", b'{"request": 7}', b"{", b'{"request": {"method": "\xff"}}'], ids=repr)
def test_no_message_is_an_error(raw: bytes) -> None:
    """
    What is no message of the protocol is said to be none.
    """
    with pytest.raises(JsonError):
        rpc.parse(raw)
