"""Policies by REST into a real OPA: what is written, what is ours, and what a refusal or a lost answer leaves."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from structlog.testing import capture_logs

from cabochon.errors import StoreRejectedError, StoreUnavailableError
from cabochon.transactions.changes import DeletePolicy, ReplacePolicies, SetPolicy
from cabochon_opa.client import RequestUnansweredError
from cabochon_opa.policies.check import PolicyCheck
from cabochon_opa.policies.paths_to_ignore import PathsToIgnore
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.testing import RealOpa

from .rest_rig import LIB, USE, Wire, connected, held, listed, others_data, put, replace

HEALTH = "engine/healthcheck/opal.rego"


async def test_only_what_changed_is_written(opa: RealOpa) -> None:
    """
    A full set, a difference and the same again: each policy is written when its text changes and only then.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"use.rego": USE, "lib.rego": LIB, "gone.rego": "package gone"})
        assert ["PUT lib.rego", "PUT use.rego", "PUT gone.rego"] == wire.writes
        await delivery.write([SetPolicy("lib.rego", LIB), SetPolicy("use.rego", USE + "#"), DeletePolicy("gone.rego")])
        assert ["PUT use.rego", "DELETE gone.rego"] == wire.writes
        await replace(delivery, {"use.rego": USE + "#", "lib.rego": LIB})
        assert ["GET /v1/policies"] == wire.requests

    assert {"use.rego": USE + "#", "lib.rego": LIB} == held(opa)
    assert ["lib.rego", "use.rego"] == listed(opa)


ODD_IDS = [
    "a/b c.rego", "é/ü.rego", "a%2Fb.rego", "a?b=c.rego", "a#b.rego", "a+b&c;d.rego", "a\\b.rego", "../x.rego",
    "a/../../y.rego", "a//b.rego", "/abs.rego", "./here.rego", "..", ".", "...", " ", "a\nb.rego", "😀.rego",
]  # fmt: skip


async def test_odd_ids_round_trip(opa: RealOpa) -> None:
    """
    Whatever a repository calls its files, OPA holds them under that id, and they can be changed and deleted.
    """
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        first = {policy_id: f"package p{number}" for number, policy_id in enumerate(ODD_IDS)}
        await replace(delivery, first)
        assert first == held(opa)
        second = {policy_id: f"{source}\n" for policy_id, source in first.items()}
        await replace(RestDelivery(client), second)
        assert second == held(opa)
        await replace(delivery, {})

    assert {} == held(opa)
    assert [] == listed(opa)


@pytest.mark.parametrize("policy_id", ["", "a/"])
async def test_id_that_opa_can_not_hold_is_refused(opa: RealOpa, policy_id: str) -> None:
    """
    By name, and nothing else of the set stays.
    """
    async with connected(opa) as client:
        with pytest.raises(StoreRejectedError, match="no policy with the id"):
            await replace(RestDelivery(client), {"lib.rego": LIB, policy_id: "package b"})

    assert {} == held(opa)


async def test_new_life_removes_what_the_earlier_one_left(opa: RealOpa) -> None:
    """
    A difference removes nothing else, not even what it names, if others have loaded that.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        await replace(RestDelivery(client), {"lib.rego": LIB, "use.rego": USE})
        wire.requests.clear()
        await replace(RestDelivery(client), {"lib.rego": LIB})
        assert ["DELETE use.rego"] == wire.writes
        put(opa, "others.rego", "package others")
        await RestDelivery(client).write([DeletePolicy("others.rego"), DeletePolicy("never/was.rego")])
        assert [] == wire.writes

    assert {"others.rego", "lib.rego"} == set(held(opa))
    assert ["lib.rego"] == listed(opa)


async def test_list_of_ours_leaves_its_neighbours_alone(opa: RealOpa) -> None:
    """
    The data lane keeps its own documents beside it.
    """
    others_data(opa, "PUT", "system/cabochon/commit", {"e-1": True})
    async with connected(opa) as client:
        await replace(RestDelivery(client), {"lib.rego": LIB})

    assert {"commit": {"e-1": True}, "policies": ["lib.rego"]} == others_data(opa, "GET", "system/cabochon")


async def test_list_always_has_at_least_what_is_ours(opa: RealOpa) -> None:
    """
    An agent that dies at any request leaves a list with which the next life cleans up.
    """
    wire = Wire()
    seen: list[tuple[set[str], set[str]]] = []

    async def look() -> None:
        seen.append((set(await anyio.to_thread.run_sync(held, opa)), set(await anyio.to_thread.run_sync(listed, opa))))

    lines = ["PUT /v1/policies/lib.rego", "PUT /v1/policies/use.rego", "DELETE /v1/policies/old.rego"]
    async with connected(opa, wire) as client:
        await replace(RestDelivery(client), {"old.rego": "package old"})
        wire.before = dict.fromkeys([*lines, "PUT /v1/data/system/cabochon/policies"], look)
        await replace(RestDelivery(client), {"lib.rego": LIB, "use.rego": USE})

    assert {} == wire.before
    assert all(in_opa <= on_list or not on_list for in_opa, on_list in seen)
    assert seen[1][1] == {"old.rego", "lib.rego", "use.rego"}
    assert ["lib.rego", "use.rego"] == listed(opa)


async def test_garbage_in_the_place_of_the_list_is_overwritten(opa: RealOpa) -> None:
    """
    Said once in the log; it keeps no policy out.
    """
    others_data(opa, "PUT", "system/cabochon/policies", {"a": 1})
    async with connected(opa) as client:
        with capture_logs() as logs:
            await replace(RestDelivery(client), {"lib.rego": LIB})

    assert ["policy_list.not_understood"] == [line["event"] for line in logs]
    assert ["lib.rego"] == listed(opa)


async def test_refused_set_leaves_the_old_one(opa: RealOpa) -> None:
    """
    Changed, new and deleted ones alike, and the error has OPA's own words with file and row.
    """
    old = {"lib.rego": LIB, "use.rego": USE, "doomed.rego": "package doomed\n\na := 1"}
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await replace(delivery, old)
        with pytest.raises(StoreRejectedError, match=r"bad\.rego:3:\d+: rego_parse_error") as refused:
            await replace(
                delivery,
                {"lib.rego": LIB + "#", "use.rego": USE, "new.rego": "package new", "bad.rego": "package b\n\nx := "},
            )
        assert "bad.rego" == refused.value.path
        assert old == held(opa)
        assert sorted(old) == listed(opa)
        await replace(delivery, {"lib.rego": LIB + "#"})

    assert {"lib.rego": LIB + "#"} == held(opa)


async def test_all_guilty_modules_are_named(opa: RealOpa) -> None:
    """
    One look at the error is enough to mend the whole set.
    """
    async with connected(opa) as client:
        with pytest.raises(StoreRejectedError, match=r"undefined function data\.lib\.typo") as refused:
            typo = USE.replace("lib.f", "lib.typo")
            await replace(
                RestDelivery(client), {"lib.rego": LIB, "use.rego": typo, "b.rego": "package b\nr := nope(1)"}
            )

    assert "undefined function nope" in str(refused.value)
    assert {} == held(opa)
    assert [] == listed(opa)


async def test_typo_takes_nothing_out_of_force(opa: RealOpa) -> None:
    """
    Policies are taken apart only where that can help; a set that is wrong in itself never costs a moment without.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"lib.rego": LIB, "use.rego": USE})
        wire.requests.clear()
        with pytest.raises(StoreRejectedError):
            await replace(delivery, {"lib.rego": LIB, "use.rego": USE.replace("lib.f", "lib.typo")})
        assert ["PUT use.rego"] == wire.writes


async def test_moved_file(opa: RealOpa) -> None:
    """
    The same default rule twice is refused, so the old id goes first; others call what moves, so it can't go first.
    """
    with_default = "package lib\n\ndefault f(x) := 0\n\nf(x) := x + 1\n"
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"old.rego": "package a\n\ndefault r := 1", "lib.rego": with_default, "use.rego": USE})
        moved = {"new.rego": "package a\n\ndefault r := 1", "moved/lib.rego": with_default, "use.rego": USE}
        await replace(delivery, moved)

    assert moved == held(opa)


async def test_what_others_did_is_mended_when_all_is_written_anew(opa: RealOpa) -> None:
    """
    A policy that was deleted by hand, and one that was changed, are as they should be again.
    """
    policies = {"lib.rego": LIB, "use.rego": USE}
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await replace(delivery, policies)
        await anyio.to_thread.run_sync(httpx.delete, f"{opa.url}/v1/policies/use.rego")
        await anyio.to_thread.run_sync(put, opa, "lib.rego", "package other")
        await delivery.write([ReplacePolicies(policies, anew=True)])

    assert policies == held(opa)


async def test_users_are_deleted_first(opa: RealOpa) -> None:
    """
    No delete is refused on the way, and one that somebody else has done already is no error.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"lib.rego": LIB, "use.rego": USE, "a.rego": "package a"})
        await anyio.to_thread.run_sync(httpx.delete, f"{opa.url}/v1/policies/a.rego")
        wire.requests.clear()
        await replace(delivery, {})
        deletes = wire.writes

    assert ["DELETE a.rego", "DELETE lib.rego", "DELETE use.rego"] == sorted(deletes)
    assert deletes.index("DELETE use.rego") < deletes.index("DELETE lib.rego")
    assert {} == held(opa)


async def test_function_that_both_sides_stop_to_share(opa: RealOpa) -> None:
    """
    The user changes before the function goes, whatever the manifest says.
    """
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"lib.rego": LIB, "use.rego": USE})
        without = {"lib.rego": "package lib\n\ng(x) := x", "use.rego": "package use\n\nr := 2"}
        await replace(delivery, without)

    assert without == held(opa)


async def test_two_modules_that_each_need_the_other_s_new_text(opa: RealOpa) -> None:
    """
    Neither can go first, a third one that did not change uses one of them: they are taken out and put in again.
    """
    third = "package third\n\nr := data.a.keep(1)"
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await replace(
            delivery,
            {
                "a.rego": "package a\n\nkeep(x) := x\n\nr := data.b.old(1)",
                "b.rego": "package b\n\nold(x) := x",
                "third.rego": third,
            },
        )
        wanted = {
            "a.rego": "package a\n\nkeep(x) := x\n\nr := data.b.new(1)",
            "b.rego": "package b\n\nnew(x) := x",
            "third.rego": third,
        }
        await replace(delivery, wanted)

    assert wanted == held(opa)


async def test_way_back_that_fails_is_said_loudly(opa: RealOpa) -> None:
    """
    Nothing is believed then: the next write finds out, and brings OPA to where it should be.
    """
    wire = Wire()
    old = {"a.rego": "package a\n\nx := 1", "b.rego": "package b"}

    async def squat() -> None:
        await anyio.to_thread.run_sync(others_data, opa, "PUT", "a", {"x": 2})

    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)
        await replace(delivery, old)
        wire.before = {"PUT /v1/policies/b.rego": squat}
        with (
            capture_logs() as logs,
            pytest.raises(RequestUnansweredError, match=r"can't be put back.*conflicting rule"),
        ):
            await replace(delivery, {"a.rego": "package a\n\ny := 1", "b.rego": "package b\n\nz := "})
        assert "policies.not_put_back" in [line["event"] for line in logs]
        others_data(opa, "PATCH", "a", [{"op": "remove", "path": "x"}])
        wire.requests.clear()
        with pytest.raises(StoreRejectedError):
            await replace(delivery, {"a.rego": "package a\n\ny := 1", "b.rego": "package b\n\nz := "})
        assert ["GET /v1/policies", "PUT /v1/policies/b.rego", "PUT /v1/policies/a.rego"] == wire.requests[:3]

    assert old == held(opa)


@pytest.mark.parametrize("line", ["PUT /v1/policies/use.rego", "PUT /v1/data/system/cabochon/policies"])
async def test_lost_answer_is_not_believed(opa: RealOpa, line: str) -> None:
    """
    The next write finds out about what was in doubt; its refusal goes back to before the lost one.
    """
    wire = Wire()
    old = {"lib.rego": LIB, "use.rego": USE}
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)
        await replace(delivery, old)
        wire.lose = [line]
        with pytest.raises(RequestUnansweredError):
            await replace(delivery, {"lib.rego": LIB + "#", "use.rego": USE + "#", "new.rego": "package new"})
        with pytest.raises(StoreRejectedError):
            await delivery.write([SetPolicy("bad.rego", "no rego")])
        assert old == held(opa)
        wire.lose = [line]
        new = {"lib.rego": LIB + "##", "use.rego": USE + "##", "newer.rego": "package newer"}
        with pytest.raises(RequestUnansweredError):
            await replace(delivery, new)
        await replace(delivery, new)

    assert new == held(opa)
    assert sorted(new) == listed(opa)


async def test_hung_opa_is_a_lost_answer(opa: RealOpa) -> None:
    """
    After the HTTP client's own patience; then the set lands.
    """
    async with connected(opa, timeout_s=0.5) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"lib.rego": LIB})
        opa.hang()
        with pytest.raises(RequestUnansweredError):
            await replace(delivery, {"lib.rego": LIB + "#"})
        opa.go_on()
        await replace(delivery, {"lib.rego": LIB + "#", "use.rego": USE})

    assert {"lib.rego": LIB + "#", "use.rego": USE} == held(opa)


async def test_opa_emptied_in_the_middle_fails_the_write(opa: RealOpa) -> None:
    """
    What landed before is gone: the write must not pass for a whole one.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)

        async def empty() -> None:
            await anyio.to_thread.run_sync(opa.restart)
            delivery.forget()

        wire.before = {"PUT /v1/policies/use.rego": empty}
        with pytest.raises(StoreUnavailableError):
            await replace(delivery, {"a.rego": "package a", "lib.rego": LIB, "use.rego": USE.replace("lib.f(1)", "1")})
        await replace(delivery, {"a.rego": "package a", "lib.rego": LIB})

    assert {"a.rego": "package a", "lib.rego": LIB} == held(opa)
    assert ["a.rego", "lib.rego"] == listed(opa)


async def test_answer_from_before_opa_was_emptied_is_not_believed(opa: RealOpa) -> None:
    """
    It was true when OPA gave it.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)

        async def empty() -> None:
            await anyio.to_thread.run_sync(opa.restart)
            delivery.forget()

        for line in ("PUT /v1/policies/lib.rego", "PUT /v1/data/system/cabochon/policies"):
            wire.after = {line: empty}
            with pytest.raises(StoreUnavailableError):
                await replace(delivery, {"lib.rego": LIB})
            await replace(delivery, {"lib.rego": LIB})
            assert {"lib.rego": LIB} == held(opa)
            assert ["lib.rego"] == listed(opa)
            await replace(delivery, {})


async def test_forget_writes_everything_again(opa: RealOpa) -> None:
    """
    An emptied OPA gets the whole set, the healthcheck policy included.
    """
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await delivery.put_one(HEALTH, "package system.opal")
        await replace(delivery, {"lib.rego": LIB, "use.rego": USE})
        await anyio.to_thread.run_sync(opa.restart)
        delivery.forget()
        await delivery.put_one(HEALTH, "package system.opal")
        await replace(delivery, {"lib.rego": LIB, "use.rego": USE})

    assert {"lib.rego": LIB, "use.rego": USE, HEALTH: "package system.opal"} == held(opa)
    assert ["lib.rego", "use.rego"] == listed(opa)


async def test_unchanged_single_policy_is_not_put_again(opa: RealOpa) -> None:
    """
    A put costs OPA a compilation; a refused one is raised and not remembered.
    """
    wire = Wire()
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client, reserved=[HEALTH])
        for source in ("package system.opal", "package system.opal", "package system.opal # 2"):
            await delivery.put_one(HEALTH, source)
        assert 2 == len(wire.writes)
        with pytest.raises(StoreRejectedError, match="rego_parse_error"):
            await delivery.put_one(HEALTH, "no rego")
        with pytest.raises(StoreRejectedError, match="healthcheck policy"):
            await replace(delivery, {HEALTH: "package mine"})
        await replace(delivery, {})

    assert {HEALTH: "package system.opal # 2"} == held(opa)


async def test_ignored_ids_are_neither_written_nor_deleted(opa: RealOpa) -> None:
    """
    Also one that was ours before it was ignored.
    """
    async with connected(opa) as client:
        await replace(RestDelivery(client), {"theirs/was.rego": "package was", "lib.rego": LIB})
        delivery = RestDelivery(client, ignored=PathsToIgnore(["theirs/**", "!theirs/mine.rego"]))
        await replace(delivery, {"theirs/new.rego": "package new", "theirs/mine.rego": "package mine"})
        await delivery.write([DeletePolicy("theirs/was.rego")])

    assert {"theirs/was.rego", "theirs/mine.rego"} == set(held(opa))
    assert ["theirs/mine.rego"] == listed(opa)


async def test_validate_judges_no_set_that_others_policies_belong_to(opa: RealOpa, opa_path: Path) -> None:
    """
    A function of somebody else's module is undefined to `opa check`, and there for OPA, if that module is to stay.
    """
    async with connected(opa) as client:
        check = PolicyCheck(client, str(opa_path))
        keeping, removing = RestDelivery(client, check=check, keep_others=True), RestDelivery(client, check=check)
        assert ["use.rego"] == [problem.id for problem in await keeping.validate({"use.rego": USE})]
        ignoring = RestDelivery(client, check=check, ignored=PathsToIgnore(["x"]))
        assert [] == await ignoring.validate({"use.rego": USE})
        put(opa, "theirs.rego", LIB)
        assert [] == await keeping.validate({"use.rego": USE})
        assert ["use.rego"] == [problem.id for problem in await removing.validate({"use.rego": USE})]
        await replace(keeping, {"use.rego": USE})
        assert {"theirs.rego", "use.rego"} == set(held(opa))
        put(opa, "authz.rego", "package system.authz\n\ndefault allow := true")
        assert [] == await removing.validate({"use.rego": USE})


@pytest.mark.parametrize("package", ["system.opal", "system.opal.more", "system.cabochon", "system"])
async def test_packages_of_the_agent_are_refused_by_name(opa: RealOpa, package: str) -> None:
    """
    A repository that has one would say what the agent is to say; what was in force stays.
    """
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await delivery.put_one(HEALTH, "package system.opal\n\ndefault ready := true")
        await replace(delivery, {"lib.rego": LIB})
        with pytest.raises(StoreRejectedError, match=r"theirs\.rego: the package system\S* is the agent's own"):
            await delivery.write([SetPolicy("theirs.rego", f"package {package}\n\nready := false")])

    assert {"lib.rego", HEALTH} == held(opa).keys()


async def test_other_packages_of_the_system_are_everyones(opa: RealOpa) -> None:
    """
    `system.authz` is OPA's own way to be told who may ask it; `system.health` is too, where the agent keeps none.
    """
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await delivery.put_one(HEALTH, "package system.opal\n\ndefault ready := true")
        policies = {f"{name}.rego": f"package system.{name}\n\nlive := true" for name in ("authz", "health")}
        await replace(delivery, policies)

    assert {*policies, HEALTH} == held(opa).keys()
