"""What one client may do over the WebSocket, and what it hears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ..rig import Rig, running  # noqa: TID252 - the rig of these tests


async def test_pings(rig: Rig) -> None:
    socket = await rig.socket()
    assert ["pong", "pong"] == [await socket.call(name, {}) for name in ("_ping_", "ping")]
    assert 32 == len(await socket.call("_get_channel_id_", {}))


async def test_update_reaches_who_subscribed_to_a_topic_of_it_or_above_it(rig: Rig) -> None:
    above, same, other = [await rig.subscriber(topic) for topic in ("a", "a/b", "a/c")]
    answer = await rig.publish({"dst_path": "/x", "data": {"v": 1}, "topics": ["a/b"]}, id="one", reason="why")
    assert (200, {"status": "ok"}) == (answer.status_code, answer.json())
    for socket, topic in ((above, "a"), (same, "a/b")):
        ((told, number, data),) = await socket.noted(1)
        assert (topic, 1, "one", "why") == (told, number, data["id"], data["reason"])
        assert ["a", "a/b"] == data["entries"][0]["topics"]
    await rig.publish({"dst_path": "/x", "data": {"v": 2}, "topics": ["a/c"]})
    ((_, number, _),) = await other.noted(1)
    assert 2 == number


async def test_who_is_on_several_topics_of_an_update_is_told_once(rig: Rig) -> None:
    socket = await rig.subscriber("a", "a/b", "c")
    await rig.publish({"dst_path": "/x", "data": 1, "topics": ["a/b", "c"]})
    await rig.publish({"dst_path": "/x", "data": 2, "topics": ["c"]})
    assert [1, 2] == [number for _, number, _ in await socket.noted(2)]


async def test_unsubscribed_topic_is_silent(rig: Rig) -> None:
    socket = await rig.subscriber("a", "b")
    assert True is await socket.call("unsubscribe", {"topics": ["a"]})
    await rig.publish({"dst_path": "/x", "data": 1, "topics": ["a"]})
    await rig.publish({"dst_path": "/x", "data": 2, "topics": ["b"]})
    assert ["b"] == [topic for topic, _, _ in await socket.noted(1)]


async def test_what_one_publishes_reaches_the_others(rig: Rig) -> None:
    sender, receiver = [await rig.subscriber("t") for _ in range(2)]
    assert True is await sender.call("publish", {"topics": ["t"], "data": {"hello": 1}})
    ((topic, _, data),) = await receiver.noted(1)
    assert ("t", {"hello": 1}) == (topic, data)
    assert True is await receiver.call("publish", {"topics": ["t"], "data": 2})
    assert [2] == [data for _, _, data in await sender.noted(1)]


async def test_topic_may_come_without_a_list_and_who_gives_another_name_hears_itself(rig: Rig) -> None:
    sender, receiver = [await rig.subscriber("t") for _ in range(2)]
    me = await sender.call("_get_channel_id_", {})
    assert True is await sender.call("publish", {"topics": "t", "data": 1})
    assert True is await sender.call("publish", {"topics": ["t"], "data": 2, "notifier_id": me, "sync": False})
    assert True is await sender.call("publish", {"topics": "t", "data": 3, "notifier_id": "another"})
    assert [1, 2, 3] == [data for _, _, data in await receiver.noted(3)]
    assert [3] == [data for _, _, data in await sender.noted(1)]


@pytest.mark.parametrize("method", ["subscribe", "unsubscribe", "publish"])
async def test_no_topics_are_none(rig: Rig, method: str) -> None:
    socket = await rig.socket()
    assert True is await socket.call(method, {})


@pytest.mark.parametrize(
    "nonsense",
    [
        "{nope",
        "[]",
        "7",
        "\0\0",
        '{"request": {"method": "no_such", "arguments": {}, "call_id": "1"}}',
        '{"request": {"method": "subscribe", "arguments": {"topics": 7}, "call_id": "1"}}',
        '{"request": {"method": "publish", "arguments": null, "call_id": {}}}',
        "[" * 100_000,
    ],
)
async def test_nonsense_hurts_nobody(rig: Rig, nonsense: str) -> None:
    """Not even the connection that it comes over."""
    other = await rig.subscriber("t")
    socket = await rig.socket()
    await socket.connection.send(nonsense)
    await rig.publish({"dst_path": "/x", "data": 1, "topics": ["t"]})
    await other.noted(1)
    if "call_id" in nonsense:
        await socket.connection.recv()
    assert "pong" == await socket.call("ping", {})


async def test_who_speaks_another_protocol_is_put_out(rig: Rig) -> None:
    socket = await rig.socket()
    with pytest.raises(ConnectionClosed) as closed:
        for _ in range(100):
            await socket.connection.send("GET / HTTP/1.0")
            with anyio.move_on_after(0.01):
                await socket.connection.recv()
    assert closed.value.rcvd is not None
    assert 4003 == closed.value.rcvd.code


async def test_only_ws_can_be_upgraded(rig: Rig) -> None:
    socket = await rig.socket(query="?x=1")
    assert "pong" == await socket.call("ping", {})
    with pytest.raises(InvalidStatus):
        await rig.socket(query="/else")


async def test_message_that_is_too_long_ends_its_connection_alone(tmp_path: Path) -> None:
    async with running(tmp_path, {"OPAL_CLIENT_MAX_MESSAGE_BYTES": "2000"}) as rig:
        socket, other = await rig.socket(), await rig.socket()
        await socket.connection.send("x" * 3_000)
        with pytest.raises(ConnectionClosed):
            await socket.connection.recv()
        assert "pong" == await other.call("ping", {})


async def test_large_update_arrives_whole(rig: Rig) -> None:
    socket = await rig.subscriber("policy_data")
    text = "é" * 3_000_000
    await rig.publish({"dst_path": "/x", "data": {"text": text}})
    ((_, _, data),) = await socket.noted(1)
    assert text == data["entries"][0]["data"]["text"]


async def test_who_does_not_read_is_dropped_and_slows_nobody(tmp_path: Path) -> None:
    limits = {"OPAL_CLIENT_MAX_WAITING_BYTES": "1000000"}
    async with running(tmp_path, limits) as rig:
        reader = await rig.subscriber("t")
        sleeper = await rig.subscriber("t")
        sleeper.connection.transport.pause_reading()  # type: ignore[attr-defined]
        body = {"dst_path": "/x", "data": "x" * 600_000, "topics": ["t"]}
        for number in range(1, 400):
            await rig.publish(body)
            assert number == len(await reader.noted(number))
            clients: Any = (await rig.http.get("/pubsub_client_info")).json()
            if len(clients) == 1:
                break
        else:
            pytest.fail("it is still connected")
        sleeper.connection.transport.abort()


async def test_clients_are_told_that_the_server_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        socket = await rig.subscriber("t")
        rig.server.stop()
        with anyio.fail_after(5), pytest.raises(ConnectionClosed) as closed:
            await socket.connection.recv()
        assert closed.value.rcvd is not None
        assert 1001 == closed.value.rcvd.code


async def test_connected_clients_are_listed(rig: Rig) -> None:
    await rig.subscriber("b", "a")
    named = await rig.socket(query="?__opal_client_id=me")
    await named.call("subscribe", {"topics": ["c"]})
    clients: Any = (await rig.http.get("/pubsub_client_info")).json()
    assert [["a", "b"], ["c"]] == sorted(one["subscribed_topics"] for one in clients.values())
    assert 1 == clients["me"]["refcount"]


async def test_statistics_count_who_wants_to_be_counted(tmp_path: Path) -> None:
    async with running(tmp_path, {"OPAL_STATISTICS_ENABLED": "true"}) as rig:
        socket = await rig.subscriber("t")
        told = {"topics": ["t"], "client_id": "me", "rpc_id": "x"}
        assert True is await socket.call("publish", {"topics": ["__opal_stats_add"], "data": told})
        full: Any = (await rig.http.get("/statistics")).json()
        assert {"me": [told]} == full["clients"]
        brief: Any = (await rig.http.get("/stats")).json()
        assert (1, 1) == (brief["client_count"], brief["server_count"])
        await socket.connection.close()
        with anyio.fail_after(5):
            while (await rig.http.get("/stats")).json()["client_count"]:  # noqa: ASYNC110 - it is asked over HTTP
                await anyio.sleep(0.01)


async def test_one_connection_has_only_so_many_names(tmp_path: Path) -> None:
    async with running(tmp_path, {"OPAL_STATISTICS_ENABLED": "true"}) as rig:
        socket = await rig.socket()
        me = await socket.call("_get_channel_id_", {})
        for number in range(20):
            told = {"topics": ["t"], "client_id": f"{number:02}"}
            assert True is await socket.call("publish", {"topics": ["__opal_stats_add"], "data": told})
        clients: Any = (await rig.http.get("/statistics")).json()["clients"]
        assert [f"{number:02}" for number in range(4, 20)] == list(clients)
        assert me == clients["19"][0]["rpc_id"]


async def test_statistics_are_off_by_default(rig: Rig) -> None:
    assert [501, 501] == [(await rig.http.get(path)).status_code for path in ("/statistics", "/stats")]
