"""Scopes: policies, base data and updates of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from cabochon_opal_server.scopes.scope import GitSource

from ..policy.commits import Commits  # noqa: TID252 - the tests of policies have it
from ..rig import PATIENCE_S, Rig, running  # noqa: TID252 - the rig of these tests
from ..security.test_tokens import KEYS, MASTER, bearer, made  # noqa: TID252

SCOPES = {"OPAL_SCOPES": "true"}


@pytest.fixture
async def scoped(tmp_path: Path) -> AsyncGenerator[Rig]:
    async with running(tmp_path, SCOPES) as one:
        yield one


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    return Commits(tmp_path / "policies")


def scope(name: str, commits: Commits, **policy: Any) -> dict[str, Any]:
    source = {"source_type": "git", "url": str(commits.folder), "auth": {"auth_type": "none"}, **policy}
    return {"scope_id": name, "policy": source, "data": {"entries": [{"url": f"http://{name}/data"}]}}


async def policy(rig: Rig, name: str, until: Callable[[dict[str, Any]], bool], **query: str) -> dict[str, Any]:
    """Ask for a scope's policies until they are as they should be."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            answer = await rig.http.get(f"/scopes/{name}/policy", params=query)
            if answer.status_code == 200 and until(answer.json()):
                return answer.json()
            await anyio.sleep(0.02)


async def test_scope_is_made_shown_changed_and_forgotten(scoped: Rig, commits: Commits) -> None:
    commits.commit({"a.rego": "package a"})
    http = scoped.http
    assert [] == (await http.get("/scopes")).json()
    auth = {"auth_type": "userpass", "username": "me", "password": "secret"}
    assert 201 == (await http.put("/scopes", json=scope("blue", commits, auth=auth))).status_code
    assert 201 == (await http.put("/scopes", json=scope("amber", commits))).status_code
    shown = await http.get("/scopes")
    assert ["amber", "blue"] == [one["scope_id"] for one in shown.json()]
    assert "secret" not in shown.text + (await http.get("/scopes/blue")).text
    assert "http://blue/data" == (await http.get("/scopes/blue/data")).json()["entries"][0]["url"]
    assert 201 == (await http.put("/scopes", json=scope("blue", commits, branch="other"))).status_code
    assert "other" == (await http.get("/scopes/blue")).json()["policy"]["branch"]
    assert 204 == (await http.delete("/scopes/blue")).status_code
    assert 404 == (await http.get("/scopes/blue")).status_code
    assert ["amber"] == [one["scope_id"] for one in (await http.get("/scopes")).json()]


@pytest.mark.parametrize("wrong", [{}, {"scope_id": "x"}, {"scope_id": "x", "policy": {"url": "y"}}, []])
async def test_scope_that_is_none_is_422(scoped: Rig, wrong: object) -> None:
    assert 422 == (await scoped.http.put("/scopes", json=wrong)).status_code


async def test_each_scope_has_the_policies_of_its_folders(scoped: Rig, commits: Commits) -> None:
    first = commits.commit({"blue/a.rego": "package blue", "amber/b.rego": "package amber"})
    for name in ("blue", "amber"):
        await scoped.http.put("/scopes", json=scope(name, commits, directories=[name, "nowhere"]))
        found = await policy(scoped, name, lambda one: one["hash"] == first)
        assert [name] == [module["package_name"] for module in found["policy_modules"]]
    socket = await scoped.subscriber("blue:policy:.")
    second = commits.commit({"blue/a.rego": None, "blue/c.rego": "package c"})
    assert 200 == (await scoped.http.post("/scopes/blue/refresh")).status_code
    delta = await policy(scoped, "blue", lambda one: one["hash"] == second, base_hash=first)
    assert (["blue/c.rego"], ["blue/a.rego"]) == (delta["manifest"], delta["deleted_files"]["policy_modules"])
    ((topic, _number, data),) = await socket.noted(1)
    assert ("blue:policy:.", first, second) == (topic, data["old_policy_hash"], data["new_policy_hash"])


async def test_scopes_and_their_policies_outlive_the_server(tmp_path: Path, commits: Commits) -> None:
    head = commits.commit({"a.rego": "package a"})
    async with running(tmp_path, SCOPES) as rig:
        await rig.http.put("/scopes", json=scope("blue", commits))
    async with running(tmp_path, SCOPES) as rig:
        await policy(rig, "blue", lambda one: one["hash"] == head)


async def test_repository_is_polled_if_the_scope_asks_for_it(tmp_path: Path, commits: Commits) -> None:
    commits.commit({"a.rego": "package a"})
    async with running(tmp_path, {**SCOPES, "OPAL_POLICY_REFRESH_INTERVAL": "0.05"}) as rig:
        await rig.http.put("/scopes", json=scope("blue", commits, poll_updates=True))
        await policy(rig, "blue", lambda _one: True)
        second = commits.commit({"a.rego": "package b"})
        await policy(rig, "blue", lambda one: one["hash"] == second)


async def test_unknown_scope_gets_what_there_is_for_all(tmp_path: Path, commits: Commits) -> None:
    head = commits.commit({"a.rego": "package a"})
    async with running(tmp_path, SCOPES) as rig:
        assert 404 == (await rig.http.get("/scopes/nobody/policy")).status_code
        assert "entries" in (await rig.http.get("/scopes/nobody/data")).json()
        await rig.http.put("/scopes", json=scope("default", commits))
        await policy(rig, "nobody", lambda one: one["hash"] == head)


async def test_update_of_a_scope_is_for_its_agents_alone(scoped: Rig) -> None:
    blue = await scoped.subscriber("blue:data:users", "amber:data:users", "users")
    update = {"entries": [{"url": "", "topics": ["users/keys"], "dst_path": "/x", "data": 1}]}
    assert 200 == (await scoped.http.post("/scopes/blue/data/update", json=update)).status_code
    await scoped.publish({"topics": ["users"], "dst_path": "/y", "data": 2})
    notes = await blue.noted(2)
    assert ["blue:data:users", "users"] == [topic for topic, _number, _data in notes]
    assert ["data:users", "data:users/keys"] == notes[0][2]["entries"][0]["topics"]


async def test_server_without_scopes_has_no_routes_for_them(rig: Rig) -> None:
    assert 404 == (await rig.http.get("/scopes")).status_code


async def test_tokens_say_who_may_manage_and_who_may_read(tmp_path: Path, commits: Commits) -> None:
    commits.commit({"a.rego": "package a"})
    async with running(tmp_path, {**SCOPES, **KEYS, "OPAL_AUTH_MASTER_TOKEN": MASTER}) as rig:
        client, owner = bearer(await made(rig, "client")), bearer(await made(rig, "datasource"))
        reader = bearer(await made(rig, "client", claims={"allowed_scopes": ["blue"]}))
        body = scope("blue", commits)
        for headers, status in (({}, 401), (client, 401), (reader, 401), (owner, 201)):
            assert status == (await rig.http.put("/scopes", json=body, headers=headers)).status_code
        for headers, status in (({}, 401), (client, 401), (owner, 200)):
            assert status == (await rig.http.get("/scopes", headers=headers)).status_code
        for headers, status in (({}, 401), (client, 403), (owner, 403), (reader, 200)):
            assert status == (await rig.http.get("/scopes/blue/data", headers=headers)).status_code
        assert 403 == (await rig.http.get("/scopes/amber/policy", headers=reader)).status_code


async def test_only_who_may_read_a_scope_is_told_of_its_updates(tmp_path: Path) -> None:
    async with running(tmp_path, {**SCOPES, **KEYS, "OPAL_AUTH_MASTER_TOKEN": MASTER}) as rig:
        reader = bearer(await made(rig, "client", claims={"allowed_scopes": ["blue"]}))
        for topics, allowed in (
            (["blue:data:users", "blue:policy:."], True),
            (["users", "policy:."], True),
            (["amber:data:users"], False),
            (["blue:data:users", "amber:policy:."], False),
        ):
            socket = await rig.socket(reader)
            assert allowed is await socket.call("subscribe", {"topics": topics})


@pytest.mark.parametrize(
    ("url", "auth", "full"),
    [
        ("https://host/r", {"auth_type": "none"}, "https://host/r"),
        (
            "https://host:1/r",
            {"auth_type": "userpass", "username": "a@b", "password": "p/w"},
            "https://a%40b:p%2Fw@host:1/r",
        ),
        ("https://old@host/r", {"auth_type": "github_token", "token": "t"}, "https://git:t@host/r"),
        ("ssh://host/r", {"auth_type": "ssh", "username": "git", "private_key": "k"}, "ssh://git@host/r"),
        ("git@host:r", {"auth_type": "ssh", "username": "git", "private_key": "k"}, "git@host:r"),
    ],
)
def test_credentials_are_put_into_the_url(url: str, auth: dict[str, str], full: str) -> None:
    source = msgspec.convert({"url": url, "auth": auth}, GitSource)
    assert full == source.full_url
    assert auth.get("private_key") == source.ssh_key


async def test_name_that_would_share_topics_with_another_scope_is_422(scoped: Rig, commits: Commits) -> None:
    """
    `blue:data` and the topics of `blue` begin alike: a token of the one would follow the other.
    """
    answer = await scoped.http.put("/scopes", json=scope("blue:data", commits))

    assert (422, True) == (answer.status_code, "colon" in answer.text)
