"""An agent and a real OpenFGA: what `check` answers right after each update."""

from __future__ import annotations

from pathlib import Path

import pytest

from cabochon_openfga.testing import RealOpenFga

from .rig import MODEL, Rig, bundle, running_agent, tuple_of

ANN, BOB, EVE = "user:ann", "user:bob", "user:eve"
PLAN, NOTES = "document:plan", "document:notes"


async def may(rig: Rig, *wanted: tuple[str, str, str, int, bool]) -> None:
    """See that OpenFGA answers so."""
    asked = [await rig.asker.check(user, relation, of, hour) for user, relation, of, hour, _ in wanted]
    assert [answer for *_, answer in wanted] == asked


async def test_checks_follow_every_update(openfga: RealOpenFga) -> None:
    """
    Folders, groups and conditions: grant, inherit, restrict and revoke, each seen by the next question.
    """
    async with running_agent(openfga.url) as rig:
        assert await rig.publish("/groups", {"group:staff": {"member": [ANN, "group:guests#member"]}}) is None
        assert await rig.publish("/groups/guests", [tuple_of(BOB, "member", "group:guests")]) is None
        await may(rig, (BOB, "member", "group:staff", 12, True), (ANN, "viewer", PLAN, 12, False))

        folder = {"folder:docs": {"viewer": ["group:staff#member"]}, PLAN: {"parent": ["folder:docs"]}}
        assert await rig.publish("/documents", folder) is None
        await may(
            rig, (BOB, "viewer", PLAN, 12, True), (BOB, "editor", PLAN, 12, False), (EVE, "viewer", PLAN, 12, False)
        )

        hours = [tuple_of(BOB, "editor", PLAN, in_hours=(9, 17))]
        assert await rig.publish("/hours", hours) is None
        await may(rig, (BOB, "editor", PLAN, 12, True), (BOB, "editor", PLAN, 18, False))

        assert await rig.publish("/hours", [tuple_of(BOB, "editor", PLAN, in_hours=(9, 20))]) is None
        await may(rig, (BOB, "editor", PLAN, 18, True))

        assert await rig.publish("/hours", [tuple_of(BOB, "editor", PLAN)]) is None
        await may(rig, (BOB, "editor", PLAN, 3, True))

        # An ancestor's PUT takes the place of what the paths below it owned.
        assert await rig.publish("/groups", [tuple_of(ANN, "member", "group:staff")]) is None
        await may(rig, (BOB, "viewer", PLAN, 12, True), (BOB, "viewer", "folder:docs", 12, False))

        assert await rig.publish("/hours", [{"op": "remove", "path": "/0"}], "PATCH") is None
        await may(rig, (BOB, "viewer", PLAN, 12, False), (ANN, "viewer", PLAN, 12, True))
        assert rig.log.healthy


async def test_tuple_of_two_paths_goes_with_the_last(openfga: RealOpenFga) -> None:
    """
    Two paths own one tuple: it stays until both have let go.
    """
    shared = [tuple_of(ANN, "owner", PLAN)]
    async with running_agent(openfga.url) as rig:
        for path in ("/a", "/b"):
            assert await rig.publish(path, shared) is None
        assert await rig.publish("/a", []) is None
        assert await rig.asker.check(ANN, "viewer", PLAN)

        assert await rig.publish("/b", []) is None
        assert not await rig.asker.check(ANN, "viewer", PLAN)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([tuple_of(ANN, "owner", PLAN), tuple_of("ann", "owner", PLAN)], '/bad: $[1]: user "ann" should be type:id'),
        ([tuple_of(ANN, "reads", PLAN)], "document:plan#reads@user:ann"),
        ({"n": 1}, "should be an array of"),
    ],
)
async def test_data_that_is_no_tuples_is_refused(openfga: RealOpenFga, data: object, reason: str) -> None:
    """
    It is named with its path and place, harms nothing that is there, and health says so until it is made good.
    """
    async with running_agent(openfga.url) as rig:
        assert await rig.publish("/good", [tuple_of(ANN, "owner", NOTES)]) is None
        error = await rig.publish("/bad", data)

        assert error is not None
        assert reason in error
        assert (False, True, ["/bad"]) == (rig.log.healthy, rig.log.ready, [str(path) for path in rig.log.out_of_sync])
        assert [(NOTES, "owner", ANN)] == list(await rig.asker.tuples())

        assert await rig.publish("/bad", []) is None
        assert rig.log.in_sync


async def test_bad_model_leaves_the_old_one_in_force(openfga: RealOpenFga) -> None:
    """
    The error names file and line, `healthy` is false, and OpenFGA answers by the model of before.
    """
    async with running_agent(openfga.url) as rig:
        assert await rig.publish("/docs", [tuple_of(ANN, "owner", PLAN)]) is None
        before = await rig.asker.model_ids()
        await rig.source.change_policies(bundle({"model.fga": MODEL.replace("[user]", "[usr]", 1)}, "bad"))
        await rig.until(lambda: rig.log.policies.failed == 1)

        failed = rig.log.as_document()["last_failed_policy_transaction"]
        assert (
            "model.fga:13: the relation type 'usr' on 'owner' in object type 'folder' is not valid" in failed["error"]
        )
        assert not rig.log.healthy
        assert before == await rig.asker.model_ids()
        assert await rig.asker.check(ANN, "viewer", PLAN)

        await rig.source.change_policies(bundle({"model.fga": MODEL}, "good"))
        await rig.until(lambda: rig.log.healthy)
        assert before == await rig.asker.model_ids()


async def test_tuples_wait_for_the_model_that_allows_them(openfga: RealOpenFga) -> None:
    """
    A relation that the model does not have yet is refused, and written by itself once the model has it.
    """
    async with running_agent(openfga.url) as rig:
        assert await rig.publish("/docs", [tuple_of(ANN, "auditor", PLAN)]) is not None
        more = MODEL.replace("type document\n  relations\n", "type document\n  relations\n    define auditor: [user]\n")
        await rig.source.change_policies(bundle({"model.fga": more}, "2"))
        await rig.until(lambda: rig.log.in_sync and rig.log.healthy)

        assert await rig.asker.check(ANN, "auditor", PLAN)


async def test_agent_that_starts_again_writes_only_what_differs(openfga_path: Path, tmp_path: Path) -> None:
    """
    A new life of the agent finds model and tuples in place: no new model, and not a tuple deleted meanwhile.
    """
    documents = {"/docs": [tuple_of(ANN, "owner", PLAN)], "/hours": [tuple_of(BOB, "editor", PLAN, in_hours=(9, 17))]}
    with RealOpenFga(openfga_path, sqlite=tmp_path / "openfga.db") as openfga:
        for hours in ((9, 17), (9, 17), (8, 16)):
            documents["/hours"] = [tuple_of(BOB, "editor", PLAN, in_hours=hours)]
            async with running_agent(openfga.url) as rig:
                for path, data in documents.items():
                    assert await rig.publish(path, data) is None
                assert 2 == len(await rig.asker.tuples())
                assert 1 == len(await rig.asker.model_ids())
                changes = (await rig.asker.in_store("GET", "/changes"))["changes"]
        # Only the new hours of the last life: a delete and a write.
        assert ["WRITE", "WRITE", "DELETE", "WRITE"] == [
            one["operation"].removeprefix("TUPLE_OPERATION_") for one in changes
        ]
        openfga.restart()
        async with running_agent(openfga.url) as rig:
            assert 2 == len(await rig.asker.tuples())


@pytest.mark.parametrize(("prune", "left"), [("owned", 3), ("all", 1)])
async def test_tuples_of_others_stay_or_go(openfga: RealOpenFga, prune: str, left: int) -> None:
    """
    At first contact others' tuples are left alone, or removed once everything that is ours is there.
    """
    async with running_agent(openfga.url) as rig:
        await rig.publish("/theirs", [tuple_of(EVE, "owner", PLAN), tuple_of(EVE, "owner", NOTES)])
    async with running_agent(openfga.url, {"OPAL_OPENFGA_PRUNE": prune}) as rig:
        assert await rig.publish("/ours", [tuple_of(ANN, "owner", PLAN)]) is None
        await rig.until(lambda: rig.log.ready)

        assert left == len(await rig.asker.tuples())
        assert (prune == "owned") == await rig.asker.check(EVE, "owner", NOTES)


async def test_backup_tells_what_an_earlier_life_wrote(openfga: RealOpenFga, tmp_path: Path) -> None:
    """
    With a backup an agent removes what its earlier life wrote and this one did not, and nothing of others.
    """
    backup = {"OPAL_OFFLINE_MODE_ENABLED": "true", "OPAL_STORE_BACKUP_PATH": str(tmp_path / "backup.db")}
    async with running_agent(openfga.url, backup) as rig:
        await rig.asker.write(tuple_of(EVE, "owner", NOTES))
        assert await rig.publish("/old", [tuple_of(BOB, "owner", PLAN)]) is None
    async with running_agent(openfga.url, backup) as rig:
        assert await rig.publish("/new", [tuple_of(ANN, "owner", PLAN)]) is None

        assert [(NOTES, "owner", EVE), (PLAN, "owner", ANN)] == sorted(await rig.asker.tuples())
        assert 1 == len(await rig.asker.model_ids())
