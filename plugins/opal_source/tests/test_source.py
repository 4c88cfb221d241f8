"""The whole source in front of a scripted server: connections that fail, break, hang; what it asks over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from typing import TypeVar, cast

import anyio
import anyio.abc
import pytest
from anyio import to_thread
from structlog.testing import capture_logs
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from cabochon import (
    ConfigurationError,
    Connected,
    DataUpdateReceived,
    Disconnected,
    SourceError,
    SourceEvent,
    UpdateSource,
    load_settings,
)
from cabochon_opal_source.settings import OpalSourceSettings
from cabochon_opal_source.source import OpalUpdateSource

from .frames import answer_to, call_of
from .opal_server import WITHIN_S, OpalServer, until

HELD_BACK_S = 3.0
"""So long a sender is watched that should be stuck; without being held back it takes a tenth of that."""

T = TypeVar("T", bound=SourceEvent)


@pytest.fixture
def server() -> Iterator[OpalServer]:
    with OpalServer() as server:
        yield server


@asynccontextmanager
async def opened(url: str, **more: str) -> AsyncGenerator[UpdateSource]:
    async with OpalUpdateSource.open(load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": url, **more})) as source:
        yield source


@asynccontextmanager
async def following(url: str, **more: str) -> AsyncGenerator[AsyncIterator[SourceEvent]]:
    async with (
        opened(url, **more) as source,
        aclosing(cast("AsyncGenerator[SourceEvent]", source.events())) as events,
    ):
        yield events


async def next_of(kind: type[T], events: AsyncIterator[SourceEvent]) -> T:
    with anyio.fail_after(WITHIN_S):
        event = await anext(events)
    assert isinstance(event, kind), event
    return event


def update(name: str, data: object = 1) -> dict[str, object]:
    return {"id": name, "entries": [{"url": "", "dst_path": "/a", "data": data}]}


# --------------------------------------------------------------------------------------------------- connections


async def test_lost_connection_is_said_once_and_made_again(server: OpalServer) -> None:
    """
    However a connection ends: one `Disconnected`, then `Connected`, and updates come again.
    """
    async with following(server.url) as events:
        for number, end in enumerate(["close", "cut", "close"], start=1):
            await next_of(Connected, events)
            peer = await server.subscribed(number)
            peer.notify(update(f"update-{number}"))
            assert f"update-{number}" == (await next_of(DataUpdateReceived, events)).update.id
            if end == "cut":
                peer.cut()
            else:
                await peer.close()
            assert (await next_of(Disconnected, events)).reason


async def test_what_came_before_the_end_is_yielded(server: OpalServer) -> None:
    """
    A server that goes right after it has published: the update comes first, then `Disconnected`.
    """
    async with following(server.url) as events:
        await next_of(Connected, events)
        peer = await server.subscribed()
        for number in range(50):
            peer.notify(update(str(number)))
        await peer.close()

        for number in range(50):
            assert str(number) == (await next_of(DataUpdateReceived, events)).update.id
        await next_of(Disconnected, events)


async def test_call_that_comes_with_the_upgrade_is_answered() -> None:
    """
    A server may call in the same packet that answers the upgrade, as OPAL's does where statistics are on.
    """
    answers: list[object] = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        protocol = ServerProtocol()
        # The agent leaves as soon as it is connected, and reads no more.
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            async with stream:
                async for chunk in stream:
                    protocol.receive_data(chunk)
                    for event in protocol.events_received():
                        if isinstance(event, Request):
                            protocol.send_response(protocol.accept(event))
                            protocol.send_text(call_of("_get_channel_id_", "early").encode())
                        elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                            message = json.loads(bytes(event.data))
                            if message.get("response"):
                                answers.append(message["response"]["call_id"])
                            else:
                                protocol.send_text(answer_to(message["request"]["call_id"], True).encode())
                    await stream.send(b"".join(protocol.data_to_send()))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
        tasks.start_soon(listener.serve, serve)
        async with following(f"http://127.0.0.1:{port}") as events:
            await next_of(Connected, events)
        tasks.cancel_scope.cancel()

    assert ["early"] == answers


async def test_everything_is_answered_before_it_is_taken(server: OpalServer) -> None:
    """
    The server gets its answers though nobody takes the events.
    """
    async with following(server.url) as events:
        await next_of(Connected, events)
        peer = await server.subscribed()
        calls = [peer.notify(update(str(number))) for number in range(20)] + [peer.call("_ping_", {})]

        await until(lambda: set(calls) <= set(peer.answers))
        assert ["None"] * 20 + ["pong"] == [peer.answers[call]["result"] for call in calls]


async def test_server_is_held_back(server: OpalServer) -> None:
    """
    While nobody takes the events, most of 60 MB can't be sent; once someone does, all of it comes, in order.
    """
    async with following(server.url) as events, anyio.create_task_group() as tasks:
        await next_of(Connected, events)
        peer = await server.subscribed()
        done = anyio.Event()

        def send() -> None:
            for number in range(3_000):
                peer.notify(update(str(number), "x" * 20_000))

        async def flood() -> None:
            await to_thread.run_sync(send)
            done.set()

        tasks.start_soon(flood)
        with anyio.move_on_after(HELD_BACK_S):
            await done.wait()
        assert not done.is_set()
        for number in range(3_000):
            assert str(number) == (await next_of(DataUpdateReceived, events)).update.id
        await done.wait()


async def test_closing_disconnects_and_iterating_connects(server: OpalServer) -> None:
    """
    Closing the generator says good-bye to the server; a new one is a new connection.
    """
    async with opened(server.url) as source:
        for number in (1, 2):
            async with aclosing(cast("AsyncGenerator[SourceEvent]", source.events())) as events:
                await next_of(Connected, events)
                peer = await server.subscribed(number)
            await until(peer.closed.is_set)
            assert peer.connection.protocol.close_code == 1000


async def test_server_that_comes_later_is_found() -> None:
    """
    Until there is a server, each try is logged with the reason; then it is followed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with capture_logs() as logs, ExitStack() as later:
        async with following(f"http://127.0.0.1:{port}") as events, anyio.create_task_group() as tasks:
            tasks.start_soon(next_of, Connected, events)
            await until(lambda: len(logs) >= 2)
            await later.enter_context(OpalServer(port)).subscribed()

    assert {"server_connection.failed"} == {entry["event"] for entry in logs}
    assert "Connection refused" in logs[0]["error"]
    assert [1, 2] == [entry["attempt"] for entry in logs[:2]]


async def test_refused_token_is_named_and_tried_again(server: OpalServer) -> None:
    """
    403 on the upgrade is logged with the variable to look at, never with the token; once it is taken, all is well.
    """
    server.refuse_with = 403
    with capture_logs() as logs:
        async with following(server.url, OPAL_CLIENT_TOKEN="hunter2") as events, anyio.create_task_group() as tasks:
            tasks.start_soon(next_of, Connected, events)
            await until(lambda: len(logs) >= 2)
            server.refuse_with = None
            await server.subscribed()

    assert "Bearer hunter2" == server.peers[0].headers["authorization"]
    assert {("client_token.refused", "error")} == {(entry["event"], entry["log_level"]) for entry in logs}
    assert "OPAL_CLIENT_TOKEN" in logs[0]["error"]
    assert "hunter2" not in repr(logs)


async def test_server_that_falls_silent_is_left(server: OpalServer) -> None:
    """
    A connection that is open and dead is noticed by pings that nobody answers.
    """
    async with following(server.url, OPAL_KEEP_ALIVE_INTERVAL="0.05", OPAL_SOURCE_PING_INTERVAL="0.3") as events:
        await next_of(Connected, events)
        peer = await server.subscribed()
        await until(lambda: peer.methods().count("_ping_") >= 4)
        server.silent = True

        assert "pings" in (await next_of(Disconnected, events)).reason
        server.silent = False
        await next_of(Connected, events)


async def test_quiet_server_stays_connected(server: OpalServer) -> None:
    """
    A server that has nothing to say answers WebSocket's pings, which is enough.
    """
    happened: list[SourceEvent] = []
    # Where the machine is too busy for an answer within the interval, a longer one.
    for interval_s in (0.1, 0.4, 1.6):
        happened.clear()
        connections = len(server.peers)
        async with following(server.url, OPAL_SOURCE_PING_INTERVAL=f"{interval_s}") as events:
            await next_of(Connected, events)
            with anyio.move_on_after(6 * interval_s):
                happened.append(await anext(events))
        if not happened:
            break
    assert [] == happened
    assert connections + 1 == len(server.peers)


async def test_too_large_message_is_a_loss_with_a_reason(server: OpalServer) -> None:
    """
    A message beyond the bound ends the connection; the reason names the setting.
    """
    async with following(server.url, OPAL_SOURCE_MAX_MESSAGE_BYTES="10000") as events:
        await next_of(Connected, events)
        (await server.subscribed()).notify(update("large", "x" * 10_000))

        assert "OPAL_SOURCE_MAX_MESSAGE_BYTES" in (await next_of(Disconnected, events)).reason


async def test_large_message_keeps_its_place(server: OpalServer) -> None:
    """
    A message of several megabytes comes whole, and between its neighbours.
    """
    async with following(server.url) as events:
        await next_of(Connected, events)
        peer = await server.subscribed()
        for name, data in (("before", 1), ("large", "x" * 3_000_000), ("after", 1)):
            peer.notify(update(name, data))

        received = [(await next_of(DataUpdateReceived, events)).update for _ in range(3)]
    assert ["before", "large", "after"] == [each.id for each in received]
    assert 3_000_002 == len(received[1].entries[0].inline or b"")


@pytest.mark.parametrize(
    ("off", "topics"),
    [
        ("OPAL_DATA_UPDATER_ENABLED", ["policy:app"]),
        ("OPAL_POLICY_UPDATER_ENABLED", ["policy_data"]),
        ("OPAL_STATISTICS_ENABLED", ["policy_data", "policy:app"]),
    ],
)
async def test_half_that_is_switched_off_is_not_subscribed(server: OpalServer, off: str, topics: list[str]) -> None:
    """
    Without the data updater no data topics, without the policy updater no policy topics.
    """
    async with following(server.url, OPAL_POLICY_SUBSCRIPTION_DIRS="app", **{off: "false"}) as events:
        await next_of(Connected, events)
        assert topics == (await server.subscribed()).topics


async def test_load_limit_is_waited_for(server: OpalServer) -> None:
    """
    With `OPAL_WAIT_ON_SERVER_LOAD` nothing is connected before the server has room.
    """
    statuses = iter([429, 200])
    server.routes["/loadlimit"] = lambda _query: (next(statuses), b"{}", {})
    async with following(server.url, OPAL_WAIT_ON_SERVER_LOAD="true") as events:
        await next_of(Connected, events)

    assert 2 == len(server.seen("/loadlimit"))


# ---------------------------------------------------------------------------------------------------------- over HTTP


async def test_all_directories_are_asked_for(server: OpalServer) -> None:
    """
    Whatever changed, the bundle is asked for with every directory and the token.
    """
    async with opened(server.url, OPAL_POLICY_SUBSCRIPTION_DIRS="app:lib", OPAL_CLIENT_TOKEN="t") as source:
        await source.policy_bundle("some-hash", ["app"])

    ((query, headers),) = server.seen("/policy")
    assert {"path": ["app", "lib"], "base_hash": ["some-hash"]} == query
    assert "Bearer t" == headers["authorization"]


async def test_bundle_is_tried_again_as_configured(server: OpalServer) -> None:
    """
    503 passes: it is asked as often as `OPAL_POLICY_UPDATER_CONN_RETRY` says, and then it is an error with a reason.
    """
    server.routes["/policy"] = lambda _query: (503, b"{}", {})
    retry = '{"wait_strategy": "fixed", "wait_time": 0.001, "attempts": 3}'
    async with opened(server.url, OPAL_POLICY_UPDATER_CONN_RETRY=retry) as source:
        with pytest.raises(SourceError, match="/policy answered with 503: the server is not ready"):
            await source.policy_bundle(None, ())

    assert 3 == len(server.seen("/policy"))


@pytest.mark.parametrize("status", [404, 500])
async def test_unknown_base_is_asked_again_without(server: OpalServer, status: int) -> None:
    """
    The peer's answers to a commit that is gone: all policies are asked for then.
    """
    bundle = b'{"manifest": [], "hash": "new", "old_hash": null, "data_modules": [], "policy_modules": []}'
    whole = (200, bundle, dict[str, str]())
    server.routes["/policy"] = lambda query: (status, b"{}", {}) if "base_hash" in query else whole
    async with opened(server.url) as source:
        found = await source.policy_bundle("gone", ())

    assert found is not None
    assert ("new", None) == (found.hash, found.old_hash)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, b"{}"), "answered with 401: OPAL_CLIENT_TOKEN is refused"),
        ((200, b'{"entries": "hunter2"}'), "answered with something else: Expected `array`"),
        ((200, b"<html>hunter2"), "answered with something else"),
        ((200, b'"' + b"x" * 1000 + b'"'), "more than 1000 bytes"),
    ],
    ids=["refused", "other", "html", "large"],
)
async def test_sources_that_are_none(server: OpalServer, answer: tuple[int, bytes], reason: str) -> None:
    """
    What is no list of sources is an error of one line, without what it holds.
    """
    server.routes["/data/config"] = lambda _query: (*answer, {})
    async with opened(server.url, OPAL_SOURCE_MAX_MESSAGE_BYTES="1000") as source:
        with pytest.raises(SourceError, match=reason) as raised:
            await source.data_sources()

    assert "hunter2" not in str(raised.value)


async def test_redirect_elsewhere_does_not_get_the_token(server: OpalServer) -> None:
    """
    The header stays with the server's origin.
    """
    with OpalServer() as other:
        server.routes["/data/config"] = lambda _query: (307, b"", {"Location": f"{other.url}/list?token=t"})
        other.routes["/list"] = lambda _query: (200, json.dumps({"entries": []}).encode(), {})
        async with opened(server.url, OPAL_CLIENT_TOKEN="t") as source:
            await source.data_sources()

        ((query, headers),) = other.seen("/list")
    assert {"token": ["t"]} == query
    assert "authorization" not in headers


async def test_reports_go_to_the_server() -> None:
    """
    The peer's default: `/data/callback_report` of the server.
    """
    async with opened("http://opal.example:7002/") as source:
        assert ("http://opal.example:7002/data/callback_report",) == source.callbacks.callbacks


async def test_unusable_url_stops_the_start() -> None:
    """
    A port that is none is found before anything is tried.
    """
    with pytest.raises(ConfigurationError, match="OPAL_SERVER_PUBSUB_URL"):
        async with opened("http://localhost:99999999"):
            pass
