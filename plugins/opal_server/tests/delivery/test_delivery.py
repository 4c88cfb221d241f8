"""Who has which update: told over HTTP, and by `cabochon publish --wait`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from click.testing import CliRunner

from cabochon_opal_server.commands.publish import publish

from ..rig import PATIENCE_S, Rig, Socket, running  # noqa: TID252 - the rig of these tests

# click keeps the help option that it was asked for first, and the pages of the documentation have this one.
HELP = ["-h", "--help"]


async def agent(rig: Rig, name: str, *, topic: str = "policy_data", log: str = "", number: int = 0) -> Socket:
    """Connect as an agent of ours does."""
    socket = await rig.socket({"X-Cabochon-Agent": name, "X-Cabochon-Version": "1.2"})
    await socket.call("subscribe", {"topics": [topic], "resume": {"log": log, "number": number}})
    return socket


async def told(
    socket: Socket, ended: int, *, above: tuple[int, ...] = (), failed: dict[str, str] | None = None
) -> None:
    """Say how far the agent is."""
    await socket.call("progress", {"ended": ended, "above": above, "failed": failed or {}})


async def states(rig: Rig, update: str | int) -> dict[str, str]:
    """The state of an update by agent."""
    found = (await rig.http.get(f"/updates/{update}")).json()
    return {line["agent"]: line["state"] for line in found["agents"]}


async def number_of(rig: Rig, **more: Any) -> int:
    """Publish an update, and return its number."""
    return int((await rig.publish({"dst_path": "/x", "data": 1, **more})).headers["x-cabochon-update-number"])


async def test_update_is_late_until_the_agent_has_ended_it(rig: Rig) -> None:
    one, other = await agent(rig, "one"), await agent(rig, "other")
    await agent(rig, "elsewhere", topic="orders")
    number = await number_of(rig)
    assert {"one": "late", "other": "late"} == await states(rig, number)
    await told(one, number)
    assert {"one": "has", "other": "late"} == await states(rig, number)
    await told(other, number, failed={str(number): "the engine refused it"})
    found = (await rig.http.get(f"/updates/{number}")).json()
    assert {"agents": 2, "has": 1, "late": 0, "failed": 1, "sent": 0} == found["counts"]
    assert "the engine refused it" == found["agents"][1]["why"]
    await told(other, number, failed={str(number): ""})
    assert {"one": "has", "other": "has"} == await states(rig, number), "a failure may be taken back"


async def test_update_may_end_before_older_ones(rig: Rig) -> None:
    one = await agent(rig, "one")
    first, second = await number_of(rig), await number_of(rig, dst_path="/y")
    await told(one, first - 1, above=(second,))
    assert ({"one": "late"}, {"one": "has"}) == (await states(rig, first), await states(rig, second))


async def test_update_is_found_by_its_id(rig: Rig) -> None:
    await agent(rig, "one")
    await rig.publish({"dst_path": "/x", "data": 1}, id="of-mine")
    found = (await rig.http.get("/updates/of-mine")).json()
    assert ("of-mine", 1, ["policy_data"]) == (found["id"], found["number"], found["topics"])
    for unknown in ("never", "99", "0"):
        assert 404 == (await rig.http.get(f"/updates/{unknown}")).status_code


async def test_update_is_found_by_its_id_behind_large_ones(rig: Rig) -> None:
    for place in range(3):
        await rig.publish({"dst_path": f"/{place}", "data": "x" * (3 << 20)}, id=f"large-{place}")
    found = (await rig.http.get("/updates/large-2")).json()
    assert ("large-2", 3) == (found.get("id"), found.get("number"))


async def test_older_updates_came_with_base_data(rig: Rig) -> None:
    number = await number_of(rig)
    await agent(rig, "late-comer")
    (line,) = (await rig.http.get(f"/updates/{number}")).json()["agents"]
    assert ("has", "by base data") == (line["state"], line["why"])


async def test_agents_are_listed_with_what_they_run_and_how_far_they_are(rig: Rig) -> None:
    one = await agent(rig, "one")
    gone = await agent(rig, "gone")
    await number_of(rig)
    await told(one, 0)
    await gone.connection.close()
    with anyio.fail_after(PATIENCE_S):
        while (found := (await rig.http.get("/agents")).json())["counts"]["connected"] == 2:  # noqa: ASYNC110 - a server's state
            await anyio.sleep(0.01)
    assert ["one", "gone"] == [line["agent"] for line in found["agents"]]
    first, second = found["agents"]
    assert ("cabochon", "1.2", True, 1) == (first["kind"], first["version"], first["connected"], first["lag"])
    assert second["disconnected_at"] >= second["connected_at"]
    assert ["policy_data"] == first["topics"]
    short = (await rig.http.get("/agents", params={"limit": 1})).json()
    assert (1, 1) == (len(short["agents"]), short["more"])
    for wrong in ({"limit": "many"}, {"limit": "-1"}):
        assert 422 == (await rig.http.get("/agents", params=wrong)).status_code


async def test_clients_of_opal_s_are_shown_as_what_is_known_of_them(rig: Rig) -> None:
    await rig.subscriber("policy_data")
    number = await number_of(rig)
    report: dict[str, Any] = {"update_id": "u", "reports": [], "policy_hash": None, "user_data": {}}
    await rig.http.post("/data/callback_report", json=report)
    with anyio.fail_after(PATIENCE_S):
        while "sent" not in (await states(rig, number)).values():  # noqa: ASYNC110 - a server's state
            await anyio.sleep(0.01)
    (line,) = (await rig.http.get("/agents")).json()["agents"]
    assert ("opal-client", None, None) == (line["kind"], line["version"], line["ended"])


async def test_what_agents_have_is_known_after_a_restart(tmp_path: Path) -> None:
    environ = {"OPAL_SERVER_BIND_PORT": "0"}
    async with running(tmp_path, environ) as rig:
        one = await agent(rig, "one")
        number = await number_of(rig)
        await told(one, number)
        port = rig.server.port
    async with running(tmp_path, {"OPAL_SERVER_BIND_PORT": str(port)}) as rig:
        assert {"one": "has"} == await states(rig, number)
        (line,) = (await rig.http.get("/agents")).json()["agents"]
        assert not line["connected"]


# ----------------------------------------------------------------------------------------------------------- publish


@pytest.mark.parametrize("failed", [{}, {"1": "the engine refused it"}])
async def test_publish_waits_for_every_agent_and_names_who_failed(rig: Rig, failed: dict[str, str]) -> None:
    one, other = await agent(rig, "one"), await agent(rig, "other")
    results: list[Any] = []

    async def command() -> None:
        results.append(await to_thread.run_sync(run, rig, "--path", "/x", "--data", "[1]", "--wait"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(command)
        await one.noted(1)
        await other.noted(1)
        await told(one, 1)
        await told(other, 1, failed=failed)
    (done,) = results
    assert (1 if failed else 0) == done.exit_code, done.output
    assert "number 1" in done.stdout
    assert ("1 have it, 1 failed" if failed else "2 have it") in done.stdout
    assert ("other: failed: the engine refused it" in done.stderr) == bool(failed)


async def test_publish_names_who_is_late(rig: Rig) -> None:
    await agent(rig, "slow")
    done = await to_thread.run_sync(run, rig, "--data", "1", "--wait", "--timeout", "0.2")
    assert 1 == done.exit_code
    assert "1 late" in done.stdout
    assert "slow: late" in done.stderr


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        (["--path", "/a", "--data", '{"b": 1}'], {"dst_path": "/a", "data": {"b": 1}, "save_method": "PUT", "url": ""}),
        (["--data-file", "-"], {"dst_path": "/", "data": [7]}),
        (["--url", "http://x/y", "--topic", "policy_data", "--topic", "t"], {"url": "http://x/y"}),
        (["--method", "PATCH", "--data", '[{"op": "remove", "path": "/x"}]'], {"save_method": "PATCH"}),
    ],
)
async def test_publish_sends_what_is_asked_for(rig: Rig, given: list[str], entry: dict[str, Any]) -> None:
    socket = await rig.subscriber("policy_data")
    done = await to_thread.run_sync(lambda: run(rig, *given, "--reason", "why", stdin="[7]"))
    assert 0 == done.exit_code, done.output
    ((_topic, _number, data),) = await socket.noted(1)
    assert "why" == data["reason"]
    assert entry == {name: data["entries"][0].get(name) for name in entry}


async def test_publish_takes_a_whole_update(rig: Rig) -> None:
    update = {"id": "whole", "entries": [{"url": "", "dst_path": "/x", "data": 1}]}
    done = await to_thread.run_sync(lambda: run(rig, "--update-file", "-", stdin=json.dumps(update)))
    assert "published whole as number 1" in done.stdout


WRONG: dict[str, tuple[list[str], Callable[[str], bool]]] = {
    "nothing": ([], lambda said: "--data, --data-file, --url" in said),
    "twice": (["--data", "1", "--url", "http://x"], lambda said: "one of" in said),
    "no JSON": (["--data", "{"], lambda said: "--data" in said and "no JSON" in said),
    "refused": (["--method", "PATCH", "--data", "{}"], lambda said: "422" in said),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_publish_says_what_is_wrong_with_what_it_was_given(rig: Rig, kind: str) -> None:
    given, fits = WRONG[kind]
    done = await to_thread.run_sync(run, rig, *given)
    assert done.exit_code != 0
    assert fits(done.output + str(done.exception))


def test_publish_names_the_server_that_does_not_answer() -> None:
    done = CliRunner().invoke(publish, ["--server-url", "http://127.0.0.1:9", "--data", "1"], help_option_names=HELP)
    assert "--server-url http://127.0.0.1:9" in str(done.exception)


def run(rig: Rig, *arguments: str, stdin: str | None = None) -> Any:  # noqa: ANN401 - click's result
    return CliRunner().invoke(
        publish, [*arguments, "--server-url", f"http://{rig.url}"], input=stdin, help_option_names=HELP
    )
