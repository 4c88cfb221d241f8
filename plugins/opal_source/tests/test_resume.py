"""Resuming from a place in a server's log, and telling the server how far this agent is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabochon import Connected, DataUpdateReceived, Disconnected, PolicyChanged, SourceEvent, load_settings
from cabochon_opal_source.progress import Position, Progress
from cabochon_opal_source.session import Session
from cabochon_opal_source.settings import OpalSourceSettings
from cabochon_opal_source.source import OpalUpdateSource
from cabochon_opal_source.websocket import ConnectionLostError

from .frames import SUBSCRIPTION, notify, taken, update
from .opal_server import WITHIN_S, OpalServer, Peer, until


def numbered(number: int, topic: str = "policy_data", data: object = None) -> str:
    message = json.loads(notify(update(str(number)) if data is None else data, topic))
    message["request"]["arguments"]["subscription"]["number"] = number
    return json.dumps(message)


def calls(session: Session) -> list[dict[str, Any]]:
    found = [json.loads(raw)["request"] for raw in session.outbox]
    session.outbox.clear()
    return [call for call in found if call is not None]


def answered(call: dict[str, Any], result: object) -> str:
    return json.dumps({"request": None, "response": {"result": result, "result_type": "x", "call_id": call["call_id"]}})


def subscribing(progress: Progress) -> tuple[Session, dict[str, Any]]:
    """A session with a server of ours up to its call of `subscribe`."""
    session = Session(SUBSCRIPTION, progress=progress)
    session.extended = True
    (ping,) = calls(session)
    taken(session, [answered(ping, "pong")])
    (subscribe,) = calls(session)
    return session, subscribe


def subscribed(progress: Progress, number: int, *, log: str = "log", resumed: bool = False) -> Session:
    session, subscribe = subscribing(progress)
    events = taken(session, [answered(subscribe, {"log": log, "number": number, "resumed": resumed})])
    assert [Connected(resumed)] == events
    return session


def numbers(events: list[SourceEvent]) -> list[int]:
    return [event.position.number for event in events if isinstance(event, DataUpdateReceived)]


# ---------------------------------------------------------------------------------------------------------- sessions


def test_other_servers_are_told_nothing_new() -> None:
    """
    A server that does not say that it is ours gets `subscribe` as ever, and its updates have no position.
    """
    session = Session(SUBSCRIPTION, progress=(progress := Progress()))
    (ping,) = calls(session)
    taken(session, [answered(ping, "pong")])
    (subscribe,) = calls(session)
    assert {"topics": ["policy_data", "policy:app"]} == subscribe["arguments"]

    events = taken(session, [answered(subscribe, True), numbered(7)])

    assert [Connected(resumed=False)] == events[:1]
    assert [None] == [event.position for event in events if isinstance(event, DataUpdateReceived)]
    assert not session.may_report
    assert {"log": "", "number": 0} == progress.resume()


def test_fresh_agent_asks_for_the_number_to_go_on_from() -> None:
    """
    Who has nothing says so; the answer's number is where it resumes from, even if nothing comes.
    """
    progress = Progress()
    session, subscribe = subscribing(progress)
    assert {"log": "", "number": 0} == subscribe["arguments"]["resume"]

    taken(session, [answered(subscribe, {"log": "log", "number": 41, "resumed": False})])

    _, again = subscribing(progress)
    assert {"log": "log", "number": 41} == again["arguments"]["resume"]


def test_missed_updates_come_after_connected() -> None:
    """
    What comes before the answer was missed: `Connected(resumed=True)` is said once, before it.
    """
    progress = Progress()
    progress.begin("log", 4)
    session, subscribe = subscribing(progress)

    events = taken(
        session,
        [
            numbered(5),
            numbered(7),
            answered(subscribe, {"log": "log", "number": 9, "resumed": True}),
            numbered(10),
        ],
    )

    assert Connected(resumed=True) == events[0]
    assert [5, 7, 10] == numbers(events)
    assert 4 == len(events)
    assert session.subscribed


def test_nothing_missed_is_resumed_too() -> None:
    """
    An answer without anything before it says so itself.
    """
    progress = Progress()
    progress.begin("log", 4)

    subscribed(progress, 6, resumed=True)

    assert {"log": "log", "number": 6} == progress.resume()


def test_copies_are_dropped() -> None:
    """
    What was handed on is answered, and not handed on again; what is in no log has no number and is no copy.
    """
    session = subscribed(Progress(), 4)
    session.outbox.clear()

    events = taken(session, [numbered(5), numbered(5), numbered(4), numbered(0), numbered(0), numbered(6)])

    positions = [event.position for event in events if isinstance(event, DataUpdateReceived)]
    assert [Position("log", 5), None, None, Position("log", 6)] == positions
    assert 6 == len(session.outbox)


def test_another_log_is_a_fresh_start() -> None:
    """
    A server whose log is another one: its numbers count from then on, though they are lower.
    """
    progress = Progress()
    progress.begin("log", 40)

    session = subscribed(progress, 2, log="new")

    assert [3] == numbers(taken(session, [numbered(3)]))
    assert {"log": "new", "number": 3} == progress.resume()


def test_replay_that_is_none_is_no_connection() -> None:
    """
    A server that sent missed updates and then says that it did not resume can't be believed.
    """
    progress = Progress()
    progress.begin("log", 4)
    session, subscribe = subscribing(progress)

    with pytest.raises(ConnectionLostError, match="missed"):
        taken(session, [numbered(5), answered(subscribe, {"log": "log", "number": 9, "resumed": False})])


def test_policies_and_nonsense_have_a_place_too() -> None:
    """
    A policy update and what is no update move the place on; the latter is told as failed.
    """
    progress = Progress()
    session = subscribed(progress, 4)
    policies = {"old_policy_hash": "a", "new_policy_hash": "b", "changed_directories": ["app"]}

    events = taken(session, [numbered(5, "policy:app", policies), numbered(6, data={"entries": "hunter2"})])

    assert [PolicyChanged("b", ("app",))] == events
    assert {"log": "log", "number": 6} == progress.resume()
    report = progress.report()
    assert (6, [6]) == (report["ended"], list(report["failed"]))
    assert "hunter2" not in report["failed"][6]


# ---------------------------------------------------------------------------------------------------------- progress


def test_report_says_what_ended() -> None:
    """
    `ended` stops before the first that is open; what ended above it is listed; gaps belong to others.
    """
    progress = Progress()
    session = subscribed(progress, 4)
    taken(session, [numbered(number) for number in (6, 8, 9, 12)])

    for number, error in ((8, None), (12, "x" * 1_000)):
        progress.ended(Position("log", number), error)

    report = progress.report()
    assert (5, [8, 12]) == (report["ended"], report["above"])
    assert {12: "x" * 300} == report["failed"]
    for number in (6, 9):
        progress.ended(Position("log", number), None)
    assert (12, []) == (progress.report()["ended"], progress.report()["above"])


def test_failures_are_told_until_they_arrive_and_can_be_taken_back() -> None:
    """
    A failure is in each report until one was answered; when the update is in force after all, an empty reason goes.
    """
    progress = Progress()
    session = subscribed(progress, 4)
    taken(session, [numbered(5)])
    progress.ended(Position("log", 5), "no answer")

    session.report()
    (call,) = calls(session)[-1:]
    assert {"5": "no answer"} == call["arguments"]["failed"]
    assert not session.may_report
    assert {5: "no answer"} == progress.report()["failed"]
    taken(session, [answered(call, 9)])
    assert session.may_report
    assert {} == progress.report()["failed"]
    assert 9 == progress.number

    progress.ended(Position("log", 5), None)
    assert {5: ""} == progress.report()["failed"]


def test_ends_of_another_log_say_nothing() -> None:
    """
    An update of a log that is gone may end late: its number means another one now.
    """
    progress = Progress()
    taken(subscribed(progress, 4, log="old"), [numbered(5)])
    taken(subscribed(progress, 4, log="new"), [numbered(5)])

    progress.ended(Position("old", 5), "failed")

    assert {"ended": 4, "above": [], "failed": {}} == progress.report()


# ------------------------------------------------------------------------------------------------------- a property

POLICIES = {"old_policy_hash": "a", "new_policy_hash": "b", "changed_directories": ["app"]}
TOPICS = st.sampled_from(["policy_data", "policy:app", "elsewhere"])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(TOPICS, max_size=6),  # published while the agent is away
            st.lists(TOPICS, max_size=6),  # and while it is there
            st.integers(0, 12),  # messages that come before the cut
            st.booleans(),  # whether the server says the last one twice
            st.booleans(),  # whether progress is told
        ),
        max_size=12,
    )
)
def test_every_update_is_handed_on_once_and_in_order(
    connections: list[tuple[list[str], list[str], int, bool, bool]],
) -> None:
    """
    However connections are cut, and whatever is sent twice: each update comes once, in the log's order.
    """
    log: list[str] = []
    progress = Progress()
    begun: int | None = None
    handed_on: list[int] = []
    for away, there, cut, twice, tells in [*connections, ([], [], 1_000, False, True)]:
        log += away
        session, subscribe = subscribing(progress)
        after = subscribe["arguments"]["resume"]["number"]
        resumed = begun is not None
        head = len(log)
        log += there
        missed = [n for n in range(after + 1, head + 1) if resumed and log[n - 1] == "policy_data"]
        live = [n for n in range(head + 1, len(log) + 1) if log[n - 1] in SUBSCRIPTION.topics]
        replay = [numbered(n, log[n - 1]) for n in missed]
        answer = answered(subscribe, {"log": "log", "number": head, "resumed": resumed})
        messages = [*replay, answer, *(_message(n, log[n - 1]) for n in live)][:cut]
        events = taken(session, [*messages, *(messages[-1:] if twice and messages[-1:] != [answer] else [])])
        if events:
            assert Connected(resumed) == events[0]
            assert 1 == sum(isinstance(event, Connected) for event in events)
        if answer in messages:
            begun = head if begun is None else begun
            if tells and len(messages) == len(replay) + 1 + len(live):
                session.report()
                taken(session, [answered(calls(session)[-1], len(log))])
                assert len(log) == progress.number
        handed_on += numbers(events)

    assert begun is not None
    assert handed_on == [n for n in range(begun + 1, len(log) + 1) if log[n - 1] == "policy_data"]


def _message(number: int, topic: str) -> str:
    return numbered(number, topic, None if topic == "policy_data" else POLICIES)


# ------------------------------------------------------------------------------------------------- the whole source


@pytest.fixture
def server() -> Iterator[OpalServer]:
    with OpalServer() as server:
        server.log = "log"
        server.subscribe_with = {"log": "log", "number": 4, "resumed": False}
        yield server


def send(peer: Peer, *raws: str) -> None:
    for raw in raws:
        peer.send(raw)


async def test_source_resumes_and_tells_its_progress(server: OpalServer) -> None:
    """
    One connection after the other: it resumes from what it has put into its events, and says what has ended.
    """
    chosen = load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": server.url})
    with anyio.fail_after(WITHIN_S):
        async with (
            OpalUpdateSource.open(chosen) as source,
            aclosing(cast("AsyncGenerator[SourceEvent]", source.events())) as events,
        ):
            assert Connected(resumed=False) == await anext(events)
            peer = await server.subscribed()
            send(peer, numbered(5), numbered(8))
            found = [await anext(events) for _ in range(2)]
            assert [5, 8] == numbers(found)
            # The report of the start is told and answered: from here on nothing but the ends can make it tell another.
            await until(lambda: len(reports(peer)) == 1)
            ping = peer.call("_ping_", {})
            await until(lambda: ping in peer.answers)
            for event, error in zip(found, (None, "refused"), strict=True):
                assert isinstance(event, DataUpdateReceived)
                source.ended(event.position, error)
            await until(lambda: any(each["ended"] == 8 for each in reports(peer)))
            assert {"8": "refused"} == reports(peer)[-1]["failed"]

            server.subscribe_with = {"log": "log", "number": 9, "resumed": True}
            peer.cut()
            assert isinstance(await anext(events), Disconnected)
            assert Connected(resumed=True) == await anext(events)
            again = await server.subscribed(2)
    (subscribe,) = [call for call in again.calls if call["method"] == "subscribe"]
    assert {"log": "log", "number": 8} == subscribe["arguments"]["resume"]
    assert again.headers["x-cabochon-agent"] == peer.headers["x-cabochon-agent"] == chosen.agent_name()


async def test_next_iteration_starts_afresh(server: OpalServer) -> None:
    """
    Events that were read and not taken are lost with their iteration: the next one asks for base data.
    """
    chosen = load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": server.url})
    async with OpalUpdateSource.open(chosen) as source:
        for count in (1, 2):
            async with aclosing(cast("AsyncGenerator[SourceEvent]", source.events())) as events:
                with anyio.fail_after(WITHIN_S):
                    assert Connected(resumed=False) == await anext(events)
                peer = await server.subscribed(count)
                send(peer, numbered(5))
                (subscribe,) = [call for call in peer.calls if call["method"] == "subscribe"]
                assert {"log": "", "number": 0} == subscribe["arguments"]["resume"]


async def test_quiet_agent_reports_now_and_then(server: OpalServer) -> None:
    """
    With nothing to say, `progress` is told at every interval of the pings, for the number in its answer.
    """
    server.progress_with = 7
    chosen = load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": server.url, "OPAL_SOURCE_PING_INTERVAL": "0.05"})
    async with (
        OpalUpdateSource.open(chosen) as source,
        aclosing(cast("AsyncGenerator[SourceEvent]", source.events())) as events,
    ):
        with anyio.fail_after(WITHIN_S):
            await anext(events)
        peer = await server.subscribed()
        await until(lambda: len(reports(peer)) >= 3)
        assert 7 == reports(peer)[-1]["ended"]


def reports(peer: Peer) -> list[dict[str, Any]]:
    return [call["arguments"] for call in peer.calls if call["method"] == "progress"]


def test_agent_name_is_stable_and_fits_a_header() -> None:
    """
    The same at each start, another for another engine; what the operator calls it comes first.
    """
    names = [
        load_settings(OpalSourceSettings, environ).agent_name()
        for environ in (
            {},
            {},
            {"OPAL_POLICY_STORE_URL": "http://localhost:8282"},
            {"OPAL_OPAL_CLIENT_STAT_ID": "J\u00f6rg\r\nX: y"},
        )
    ]

    assert names[0] == names[1] != names[2]
    assert "J?rg??X:?y" == names[3]
