"""Policies into a real OPA, as a bundle where that can be and by REST where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest

from cabochon import DocumentPath, StoreRejectedError
from cabochon.contract.powers import PolicyProblem
from cabochon.transactions.changes import DeletePolicy, PolicyChange, ReplacePolicies, SetPolicy
from cabochon_opa.bundle.delivery import BundleDelivery

from .bundle_rig import Rig, bundle_rig, modules, until

A = DocumentPath(("a",))
FOUR = {
    "a.rego": "package a\n\nx := 1\n",
    "a/b.rego": "package a.b\n\nx := 2\n",
    "c.rego": "package c\n\nx := 3\n",
    "d.rego": "package d\n\nx := 4\n",
}
FUNCTION = "package lib\n\nf(v) := v + 1\n"
CALLER = "package app\n\nx := data.lib.f(1)\n"


async def values(rig: Rig, *packages: str) -> list[object]:
    return [await rig.result(f"{package}/x") for package in packages]


async def test_packages_beside_a_document_go_by_rest_and_all_are_in_force(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(DocumentPath(("c", "users")))
        assert (await rig.http.put("/v1/data/c/users", json={"bob": 1})).status_code == 204
        await rig.delivery().write([ReplacePolicies(FOUR)])
        assert await values(rig, "a", "a/b", "c", "d") == [1, 2, 3, 4]
        assert await rig.policy_ids() == {"cabochon/a.rego", "cabochon/a/b.rego", "c.rego", "cabochon/d.rego"}
        assert await rig.result("c/users/bob") == 1
        assert (await rig.http.put("/v1/data/c/users/ann", json=2)).status_code == 204


async def test_changes_apply_to_what_is_in_force(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies(FOUR)])
        await delivery.write([SetPolicy("c.rego", "package c\n\nx := 30\n"), DeletePolicy("d.rego")])
        assert await values(rig, "a", "a/b", "c", "d") == [1, 2, 30, None]
        renamed = {"moved/a.rego": FOUR["a.rego"], "c.rego": "package e\n\nx := 5\n"}
        await delivery.write([ReplacePolicies(renamed)])
        assert await values(rig, "a", "a/b", "c", "e") == [1, None, None, 5]
        assert await rig.policy_ids() == {"cabochon/moved/a.rego", "cabochon/c.rego"}


async def test_an_unchanged_set_asks_opa_for_nothing_but_who_it_is(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(DocumentPath(("c",)))
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies(FOUR)])
        asked: list[str] = []

        async def note(request: object) -> None:
            asked.append(str(getattr(request, "url", "")))

        rig.http.event_hooks = {"request": [note]}
        heard = rig.shelf.heard
        await delivery.write([ReplacePolicies(FOUR)])
        assert [url for url in asked if not url.endswith("/v1/config")] == []
        assert rig.shelf.heard == heard


async def test_a_document_that_comes_later_moves_its_package_to_rest(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies(FOUR)])
        users = DocumentPath(("a", "users"))
        refused = await rig.http.put("/v1/data/a/users", json={})
        assert refused.status_code == 400
        assert "is owned by bundle" in refused.text
        assert delivery.blocks([users])
        assert await delivery.make_room([users])
        assert not delivery.blocks([users])
        assert (await rig.http.put("/v1/data/a/users", json={"bob": 1})).status_code == 204
        assert await values(rig, "a", "a/b", "c", "d") == [1, 2, 3, 4]
        assert await rig.policy_ids() == {"a.rego", "a/b.rego", "cabochon/c.rego", "cabochon/d.rego"}
        assert not await delivery.make_room([users]), "nothing of ours is in the way any more"
        await delivery.write([SetPolicy("d.rego", "package d\n\nx := 40\n")])
        assert await values(rig, "a", "d") == [1, 40]
        assert await rig.result("a/users/bob") == 1, "the room stays, whether or not the document is known yet"


async def test_a_package_whose_documents_are_gone_moves_into_the_bundle(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        delivery = rig.delivery()
        rig.documents.add(A)
        await delivery.write([ReplacePolicies(FOUR)])
        assert {"a.rego", "a/b.rego"} <= await rig.policy_ids()
        rig.documents.clear()
        seen: set[object] = set()
        moved = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while not moved.is_set():
                    seen.add(await rig.result("a/x"))

            tasks.start_soon(watch)
            await until(lambda: seen)
            await delivery.write([ReplacePolicies(FOUR)])
            moved.set()
        assert seen == {1}, "it is in force at every moment"
        assert await rig.policy_ids() == {"cabochon/a.rego", "cabochon/a/b.rego", "cabochon/c.rego", "cabochon/d.rego"}
        rig.documents.add(A)
        await delivery.write([ReplacePolicies(FOUR)])
        assert await values(rig, "a", "a/b", "c", "d") == [1, 2, 3, 4]


async def test_opa_erases_what_it_finds_below_a_new_root(opa_path: Path, tmp_path: Path) -> None:
    """Why documents must be known, and why `blocks` is asked before data is sent."""
    async with bundle_rig(opa_path, tmp_path) as rig:
        await rig.http.put("/v1/data/a/users", json={"bob": 1})
        await rig.http.put("/v1/policies/others.rego", content="package a.others\n\nx := 1\n")
        await rig.delivery().write([ReplacePolicies(FOUR)])
        assert await rig.result("a/users") is None
        assert "others.rego" not in await rig.policy_ids()


async def test_policies_for_system_go_by_rest(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        await rig.delivery().write([ReplacePolicies({"s.rego": "package system.mine\n\nx := 1\n", **FOUR})])
        assert "s.rego" in await rig.policy_ids()
        assert (await rig.http.put("/v1/data/system/state", json=1)).status_code == 204
        assert await values(rig, "system/mine", "a") == [1, 1]


@pytest.mark.parametrize("broken", ["a.rego", "c.rego"])
async def test_a_broken_module_leaves_all_in_force_in_both_halves(opa_path: Path, tmp_path: Path, broken: str) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(DocumentPath(("c",)))
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies(FOUR)])
        package = broken.removesuffix(".rego")
        changed = {key: source.replace(":= ", ":= 1") for key, source in FOUR.items()}
        with pytest.raises(StoreRejectedError, match=rf"{package}\.rego:3:6: rego_parse_error: "):
            await delivery.write([ReplacePolicies({**changed, broken: f"package {package}\n\nx := }}\n"})])
        assert await values(rig, "a", "a/b", "c", "d") == [1, 2, 3, 4]
        assert not delivery.blocks([DocumentPath(("zz",))])
        await delivery.write([ReplacePolicies(changed)])
        assert await values(rig, "a", "a/b", "c", "d") == [11, 12, 13, 14]


@pytest.mark.parametrize("kept", ["lib", "app"])
async def test_a_call_across_both_halves_compiles_in_either_direction(
    opa_path: Path, tmp_path: Path, kept: str
) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(DocumentPath((kept, "config")))
        await rig.delivery().write([ReplacePolicies({"lib.rego": FUNCTION, "app.rego": CALLER})])
        assert await values(rig, "app") == [2]


async def test_room_below_a_package_that_bundled_modules_call(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies({"lib.rego": FUNCTION, "app.rego": CALLER})])
        assert await delivery.make_room([DocumentPath(("lib", "config"))])
        assert await values(rig, "app") == [2]
        assert await rig.policy_ids() == {"lib.rego", "cabochon/app.rego"}


async def test_a_restarted_opa_has_everything_after_the_next_write(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(A)
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies(FOUR)])
        await rig.restart()
        delivery.forget()
        await delivery.write([ReplacePolicies(FOUR)])
        assert await values(rig, "a", "a/b", "c", "d") == [1, 2, 3, 4]


async def test_a_new_life_takes_over_what_an_earlier_one_left(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(A)
        await rig.delivery().write([ReplacePolicies(FOUR)])
        rig.documents.clear()
        await rig.delivery().write([ReplacePolicies({"a.rego": FOUR["a.rego"]})])
        assert await rig.policy_ids() == {"cabochon/a.rego"}


async def test_an_empty_set_is_in_force_too(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        delivery = rig.delivery()
        await delivery.write([ReplacePolicies(FOUR)])
        await delivery.write([ReplacePolicies({})])
        assert await rig.policy_ids() == set()
        assert (await rig.http.patch("/v1/data", json=[{"op": "add", "path": "/a", "value": 1}])).status_code == 204


async def test_fifteen_hundred_modules_and_a_few_by_rest(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        rig.documents.add(DocumentPath(("team7", "users")))
        await rig.delivery().write([ReplacePolicies(modules(1_500))])
        assert len(await rig.policy_ids()) == 1_500
        assert await rig.result("team7/app7/allow", level=1) is True


# -------------------------------------------------------------------------------------------------- without an OPA


class NoOpa:
    """An activation and a REST delivery that take everything."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.entered = anyio.Event()
        self.go_on = anyio.Event()
        self.go_on.set()

    async def activate(self, archive: object) -> None:
        self.steps.append(f"bundle {len(getattr(archive, 'roots', ()))}")
        self.entered.set()
        await self.go_on.wait()

    async def write(self, changes: Sequence[PolicyChange]) -> None:
        self.steps.extend(repr(change) for change in changes)

    async def make_room(self, paths: Sequence[DocumentPath]) -> bool:
        del paths
        return False

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        return [PolicyProblem(id=policy_id, message="bad") for policy_id in policies]

    def forget(self) -> None:
        self.steps.append("forget")


async def test_a_root_keeps_data_out_from_before_it_is_published() -> None:
    engine = NoOpa()
    engine.go_on = anyio.Event()
    delivery = BundleDelivery(engine, engine, list)  # pyright: ignore[reportArgumentType]
    room: list[bool] = []
    async with anyio.create_task_group() as tasks:

        async def write_data() -> None:
            room.append(await delivery.make_room([A]))

        tasks.start_soon(delivery.write, [ReplacePolicies(FOUR)])
        await engine.entered.wait()
        assert delivery.blocks([A])
        assert not delivery.blocks([DocumentPath(("zz",))])
        tasks.start_soon(write_data)
        engine.go_on.set()
    assert room == [True]
    assert not delivery.blocks([A])
    assert engine.steps[0] == "bundle 3"
    assert "bundle 2" in engine.steps


async def test_a_lost_write_keeps_data_out_too() -> None:
    engine = NoOpa()
    engine.go_on = anyio.Event()
    delivery = BundleDelivery(engine, engine, list)  # pyright: ignore[reportArgumentType]
    with anyio.move_on_after(0.01):
        await delivery.write([ReplacePolicies(FOUR)])
    assert delivery.blocks([A])
    engine.go_on.set()
    assert await delivery.make_room([A])
    assert not delivery.blocks([A])
    assert delivery.blocks([DocumentPath(("c",))]), "what was written and lost is what is published"


async def test_what_is_others_to_load_is_left_to_them() -> None:
    engine = NoOpa()
    delivery = BundleDelivery(engine, engine, list, ignored={"c.rego"})  # pyright: ignore[reportArgumentType]
    await delivery.write([ReplacePolicies(FOUR)])
    assert engine.steps[0] == "bundle 2"
    assert not delivery.blocks([DocumentPath(("c",))])


async def test_validation_and_forgetting_reach_the_other_half() -> None:
    engine = NoOpa()
    delivery = BundleDelivery(engine, engine, list)  # pyright: ignore[reportArgumentType]
    assert [problem.id for problem in await delivery.validate({"x": ""})] == ["x"]
    delivery.forget()
    assert engine.steps == ["forget", "forget"]
