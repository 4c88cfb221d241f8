"""What limits of a token keep from its holder: entries of others, names of others."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from ..rig import Rig, Socket, running  # noqa: TID252 - the rig of these tests
from .test_tokens import KEYS, MASTER, bearer, made

SOURCES = [
    {"url": "http://data.example/users", "topics": ["users"], "config": {"headers": {"Authorization": "of users"}}},
    {"url": "http://data.example/keys", "topics": ["users/keys"]},
    {"url": "http://data.example/ads", "topics": ["ads"], "config": {"headers": {"Authorization": "of ads"}}},
]
AD = {"url": "", "dst_path": "/ads", "data": "secret ad", "topics": ["ads"]}
USER = {"url": "", "dst_path": "/users", "data": 1.50, "topics": ["users/keys"]}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncGenerator[Rig]:
    environ = {
        **KEYS,
        "OPAL_AUTH_MASTER_TOKEN": MASTER,
        "OPAL_DATA_CONFIG_SOURCES": json.dumps({"config": {"entries": SOURCES}}),
    }
    async with running(tmp_path, environ) as one:
        yield one


async def publish(rig: Rig, *entries: object, update_id: str = "u") -> int:
    headers = bearer(await made(rig, "datasource"))
    body = {"id": update_id, "reason": "why", "entries": entries}
    answer = await rig.http.post("/data/config", json=body, headers=headers)
    assert 200 == answer.status_code, answer.text
    return int(answer.headers["x-cabochon-update-number"])


async def follower(rig: Rig, *topics: str, **resume: Any) -> Socket:
    socket = await rig.socket(bearer(await made(rig, "client", claims={"permitted_topics": list(topics)})))
    assert await socket.call("subscribe", {"topics": topics, **resume})
    return socket


def paths(note: tuple[str, int, Any]) -> list[str]:
    return [entry["dst_path"] for entry in note[2]["entries"]]


async def test_each_follower_is_told_the_entries_that_it_may_see(rig: Rig) -> None:
    """
    Of one update, under one number; who may see all of it gets the same as ever, who follows a topic above too.
    """
    users, ads, both = await follower(rig, "users"), await follower(rig, "ads"), await follower(rig, "users", "ads")
    everything = await rig.socket(bearer(await made(rig, "client")))
    await everything.call("subscribe", {"topics": ["ads"]})
    number = await publish(rig, AD, USER)

    notes = [(await one.noted(1))[0] for one in (users, ads, both, everything)]
    assert [["/users"], ["/ads"], ["/ads", "/users"], ["/ads", "/users"]] == [paths(note) for note in notes]
    assert [number] * 4 == [note[1] for note in notes]
    assert ["u"] * 4 == [note[2]["id"] for note in notes]
    assert ["why"] * 4 == [note[2]["reason"] for note in notes]
    assert "secret ad" not in json.dumps(notes[0])


async def test_replay_leaves_out_what_the_live_one_does(rig: Rig) -> None:
    """
    The number stays, and so does what comes after.
    """
    first = await publish(rig, USER, update_id="first")
    log = (
        await (await follower(rig, "users")).call(
            "subscribe", {"topics": ["users"], "resume": {"log": "", "number": 0}}
        )
    )["log"]
    second = await publish(rig, AD, USER, update_id="second")
    await publish(rig, AD, update_id="not for it")
    socket = await follower(rig, "users", resume={"log": log, "number": first})

    (note,) = await socket.noted(1)
    assert (second, ["/users"]) == (note[1], paths(note))


async def test_message_that_is_no_update_goes_to_everyone_whole(rig: Rig) -> None:
    """
    It has no entries that could be left out, or some of no topic.
    """
    users = await follower(rig, "users")
    source = await rig.socket(bearer(await made(rig, "datasource")))
    messages: list[Any] = [7, [], {"entries": 7}, {"entries": [7]}, {"entries": [{"topics": ["elsewhere"]}]}]
    for message in messages:
        await source.call("publish", {"topics": ["users", "ads"], "data": message})

    assert messages == [data for *_, data in await users.noted(len(messages))]


async def test_base_data_sources_of_other_topics_are_left_out(rig: Rig) -> None:
    """
    Their configuration holds credentials.
    """
    for claims, urls in (({}, ["users", "keys", "ads"]), ({"permitted_topics": ["users"]}, ["users", "keys"])):
        headers = bearer(await made(rig, "client", claims=claims))
        entries = (await rig.http.get("/data/config", headers=headers)).json()["entries"]
        assert urls == [entry["url"].rpartition("/")[2] for entry in entries]


async def agents(rig: Rig) -> dict[str, Any]:
    answer = await rig.http.get("/agents", headers=bearer(await made(rig, "client")))
    return {one["agent"]: one for one in answer.json()["agents"]}


async def test_name_of_an_agent_is_its_token_s_while_it_is_connected(rig: Rig) -> None:
    """
    Another holder's connection speaks for itself alone, by the header and by the query; a second one of the same
    holder is the same agent.
    """
    mine, other = bearer(await made(rig, "client")), bearer(await made(rig, "client"))
    named = {"X-Cabochon-Agent": "payments"}
    agent = await rig.socket(mine | named)
    forgers = [await rig.socket(other | named), await rig.socket(other, query="?__opal_client_id=payments")]
    again = await rig.socket(mine | named)
    for socket in (agent, *forgers, again):
        await socket.call("subscribe", {"topics": ["policy_data"]})
    number = await publish(rig, {**USER, "topics": ["policy_data"]})
    for forger in forgers:
        await forger.call("progress", {"ended": number})

    known = await agents(rig)
    assert 2 == len(known)
    assert known.pop("payments")["ended"] < number
    assert number == next(iter(known.values()))["ended"]
    await again.call("progress", {"ended": number})
    assert number == (await agents(rig))["payments"]["ended"]


@pytest.mark.parametrize(
    "beyond", [{"ended": 10**30}, {"ended": 0, "above": [10**6]}, {"ended": 0, "failed": {str(10**12): "no"}}]
)
async def test_progress_beyond_the_head_of_the_log_is_refused(rig: Rig, beyond: dict[str, Any]) -> None:
    """
    Nobody has what was not published yet: it would count as delivered everywhere, for ever.
    """
    agent = await rig.socket(bearer(await made(rig, "client")) | {"X-Cabochon-Agent": "payments"})
    await agent.call("subscribe", {"topics": ["policy_data"]})
    number = await publish(rig, {**USER, "topics": ["policy_data"]})

    assert await agent.call("progress", beyond) is False
    assert (await agents(rig))["payments"]["ended"] < number
    assert number == await agent.call("progress", {"ended": number})
    assert number == (await agents(rig))["payments"]["ended"]
