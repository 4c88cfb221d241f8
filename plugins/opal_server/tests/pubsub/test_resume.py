"""Who comes again is told exactly what it missed, in order, or that it must start afresh."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabochon import NewRecord
from cabochon_opal_server.log.settings import SqliteLogSettings
from cabochon_opal_server.log.sqlite_log import open_sqlite_log
from cabochon_opal_server.pubsub.hub import Hub
from cabochon_opal_server.pubsub.messages import Resume
from cabochon_opal_server.pubsub.subscriber import Subscriber

from ..rig import PATIENCE_S, Rig, running  # noqa: TID252 - the rig of these tests

_PLACES = count()


async def resumed(rig: Rig, log: str, number: int, *topics: str) -> tuple[Any, Any]:
    socket = await rig.socket()
    answer = await socket.call("subscribe", {"topics": topics, "resume": {"log": log, "number": number}})
    return socket, answer


async def published(rig: Rig, topic: str, value: object) -> int:
    # Each has a path of its own: compaction may leave out none of them, however long the test takes.
    answer = await rig.publish({"dst_path": f"/{next(_PLACES)}", "data": {"v": value}, "topics": [topic]})
    return int(answer.headers["x-cabochon-update-number"])


async def test_fresh_agent_is_given_the_number_to_go_on_from(rig: Rig) -> None:
    await published(rig, "t", 1)
    watching = await rig.subscriber("t")
    await published(rig, "t", 2)
    await watching.noted(1)
    socket, answer = await resumed(rig, "", 0, "t")
    assert (False, 2) == (answer["resumed"], answer["number"])
    await published(rig, "t", 3)
    assert [3] == [number for _, number, _ in await socket.noted(1)]


async def test_what_was_missed_comes_before_what_comes(rig: Rig) -> None:
    first, answer = await resumed(rig, "", 0, "t")
    await published(rig, "t", 0)
    await first.noted(1)
    await first.connection.close()
    for value in range(1, 1_200):
        await published(rig, "t" if value % 2 else "other", value)
    socket, again = await resumed(rig, answer["log"], 1, "t")
    assert again["resumed"]
    await published(rig, "t", "last")
    notes = await socket.noted(601)
    assert [*range(1, 1_200, 2), "last"] == [data["entries"][0]["data"]["v"] for _, _, data in notes]
    assert sorted(number for _, number, _ in notes) == [number for _, number, _ in notes]


@pytest.mark.parametrize(("log", "number"), [("another", 1), ("same", 99)])
async def test_who_was_never_told_that_by_this_log_starts_afresh(rig: Rig, log: str, number: int) -> None:
    await published(rig, "t", 1)
    _, fresh = await resumed(rig, "", 0, "t")
    _, answer = await resumed(rig, fresh["log"] if log == "same" else log, number, "t")
    assert False is answer["resumed"]


async def test_log_outlives_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        _, fresh = await resumed(rig, "", 0, "t")
        await published(rig, "t", 1)
        await published(rig, "t", 2)
    async with running(tmp_path) as rig:
        socket, answer = await resumed(rig, fresh["log"], 1, "t")
        assert answer["resumed"]
        assert [2] == [number for _, number, _ in await socket.noted(1)]


async def test_progress_tells_a_number_to_go_on_from(rig: Rig) -> None:
    socket, _ = await resumed(rig, "", 0, "t")
    for _ in range(3):
        await published(rig, "other", 1)
    await published(rig, "t", 1)
    await socket.noted(1)
    assert 4 == await socket.call("progress", {"ended": 4})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_nothing_is_missed_or_told_twice_over_any_number_of_cuts(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - for tests
    async with running(tmp_path_factory.mktemp("server")) as rig:
        socket, answer = await resumed(rig, "", 0, "t")
        log, got, last, sent = answer["log"], list[int](), 0, list[int]()
        for _ in range(chance.randint(1, 12)):
            for _ in range(chance.randint(0, 20)):
                topic = chance.choice(["t", "other"])
                number = await published(rig, topic, 1)
                if topic == "t":
                    sent.append(number)
            for _ in range(chance.randint(0, 5)):
                if len(socket.notes) < len([number for number in sent if number > last]):
                    await socket.noted(len(socket.notes) + 1)
            got += [number for _, number, _ in socket.notes]
            last = max([last, *got])
            await socket.connection.close()
            socket, answer = await resumed(rig, log, last, "t")
            assert answer["resumed"]
        await socket.noted(len(sent) - len(got))
        assert sent == got + [number for _, number, _ in socket.notes]


async def test_large_updates_that_were_missed_come_all(rig: Rig) -> None:
    """A page of the log is short where records are large: that is not the end of it."""
    large = "x" * (3 << 20)
    for place in range(4):
        await rig.publish({"dst_path": f"/{place}", "data": large, "topics": ["t"]})
    _, fresh = await resumed(rig, "", 0, "t")
    socket, again = await resumed(rig, fresh["log"], 0, "t")
    assert (True, 4) == (again["resumed"], again["number"])
    assert [1, 2, 3, 4] == [number for _, number, _ in await socket.noted(4)]


async def test_more_may_have_been_missed_than_may_wait(tmp_path: Path) -> None:
    async with running(tmp_path, {"OPAL_CLIENT_MAX_WAITING_MESSAGES": "10"}) as rig:
        _, fresh = await resumed(rig, "", 0, "t")
        for value in range(300):
            await published(rig, "t", value)
        socket, answer = await resumed(rig, fresh["log"], 0, "t")
        assert answer["resumed"]
        assert list(range(1, 301)) == [number for _, number, _ in await socket.noted(300)]


async def test_who_leaves_while_it_is_told_what_it_missed_costs_nothing_more(tmp_path: Path) -> None:
    """The task that tells it ends, and what waited for it is forgotten."""
    async with open_sqlite_log(SqliteLogSettings(), f"sqlite:{tmp_path}/log.db") as updates:
        await updates.append([NewRecord("data", ("t",), b"{}")] * 2_000)
        hub = Hub(updates)
        subscriber = Subscriber(max_messages=1_000, max_bytes=1 << 20)
        async with anyio.create_task_group() as tasks:
            await tasks.start(hub.run)
            with anyio.fail_after(PATIENCE_S):
                async with anyio.create_task_group() as telling:
                    telling.start_soon(hub.subscribe, subscriber, ["t"], Resume(updates.log_id, 0))
                    while subscriber.has_room:  # noqa: ASYNC110 - somebody else's state
                        await anyio.sleep(0.01)
                    subscriber.close()
            assert 0 == subscriber.waiting
            tasks.cancel_scope.cancel()
