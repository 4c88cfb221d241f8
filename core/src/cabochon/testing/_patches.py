"""What a store must do that applies JSON patches itself."""

from __future__ import annotations

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsJsonPatch
from cabochon.documents.json_patch import PatchOperation
from cabochon.testing._commits import MISSING, add, delete, land, patch, put, refuse, remove, replace, writes
from cabochon.testing._documents import DocumentTests
from cabochon.transactions.changes import Changes
from cabochon.transactions.commit_result import Applied

__all__ = ["PatchTests"]

DOCUMENT = {"list": [1, 2], "member": {"x": 1}, "scalar": 1, "null": None}


class PatchTests(DocumentTests):
    """JSON patches; see `DocumentStoreContract`."""

    async def test_patch_operations_are_listed(self, store: PolicyStore) -> None:
        """
        A store that applies JSON patches knows add, remove and replace at least, and lists what it knows.
        """
        known = self.power(store, SupportsJsonPatch).patch_operations

        assert {"add", "remove", "replace"} <= known <= {"add", "remove", "replace", "move", "copy", "test"}

    @pytest.mark.parametrize(
        ("operation", "expected"),
        [
            (add("/new", {"y": [None]}), DOCUMENT | {"new": {"y": [None]}}),
            (add("/member", 2), DOCUMENT | {"member": 2}),
            (add("/member/~0~1", 2), DOCUMENT | {"member": {"x": 1, "~/": 2}}),
            (add("/list/0", 0), DOCUMENT | {"list": [0, 1, 2]}),
            (add("/list/2", 3), DOCUMENT | {"list": [1, 2, 3]}),
            (add("/list/-", 3), DOCUMENT | {"list": [1, 2, 3]}),
            (add("", {"all": "new"}), {"all": "new"}),
            (replace("/list/1", None), DOCUMENT | {"list": [1, None]}),
            (replace("/null", 1), DOCUMENT | {"null": 1}),
            (replace("", [1]), [1]),
            (remove("/list/0"), DOCUMENT | {"list": [2]}),
            (remove("/member/x"), DOCUMENT | {"member": {}}),
            (remove("/null"), {key: value for key, value in DOCUMENT.items() if key != "null"}),
        ],
        ids=lambda case: f"{case.op} {case.path.pointer()!r}" if isinstance(case, PatchOperation) else "",
    )
    async def test_patch_changes_the_document(
        self, store: PolicyStore, operation: PatchOperation, expected: object
    ) -> None:
        """
        Add puts a member or an element in, replace changes it, remove takes it out, and an empty path means all.
        """
        self.power(store, SupportsJsonPatch)
        await land(store, put("/a/document", DOCUMENT), put("/a/sibling", 1))
        await land(store, patch("/a/document", operation))

        assert {"document": expected, "sibling": 1} == await self.read(store, "/a")

    @pytest.mark.parametrize(
        "operation",
        [
            add("/missing/x", 1),
            add("/scalar/x", 1),
            add("/list/3", 1),
            add("/list/x", 1),
            replace("/missing", 1),
            replace("/list/2", 1),
            replace("/list/-", 1),
            replace("/scalar/x", 1),
            remove("/missing"),
            remove("/list/2"),
            remove("/list/-"),
            remove("/member/x/y"),
        ],
        ids=lambda case: f"{case.op} {case.path.pointer()!r}",
    )
    async def test_patch_that_does_not_apply_is_refused(self, store: PolicyStore, operation: PatchOperation) -> None:
        """
        A patch is refused as a whole if a parent, a target or an index is missing, and the message names the path.
        """
        self.power(store, SupportsJsonPatch)
        await land(store, put("/document", DOCUMENT))
        error = await refuse(store, patch("/document", add("/first", 1), operation, add("/last", 1)))

        assert "/document" in str(error)
        assert await self.read(store, "/document") == DOCUMENT

    async def test_patch_of_nothing_is_refused(self, store: PolicyStore) -> None:
        """
        A patch of a document that is not there is refused and creates nothing.
        """
        self.power(store, SupportsJsonPatch)
        for operation in (add("/x", 1), replace("/x", 1), remove("/x"), replace("", 1), remove("")):
            await refuse(store, patch("/nothing", operation))
            await refuse(store, patch("/nothing/below", operation))

        assert await self.read(store, "/nothing") is MISSING

    async def test_patch_without_operations_is_fine(self, store: PolicyStore) -> None:
        """
        A patch of no operations changes nothing.
        """
        self.power(store, SupportsJsonPatch)
        await land(store, put("/document", DOCUMENT))
        await land(store, patch("/document"))

        assert await self.read(store, "/document") == DOCUMENT

    async def test_operations_take_effect_in_order(self, store: PolicyStore) -> None:
        """
        Each operation of a patch sees what the ones before it did, and so does each change of a commit.
        """
        self.power(store, SupportsJsonPatch)
        first = patch("/d", add("/list/-", 3), remove("/list/0"), add("/new", {}), add("/new/x", 1), remove("/member"))
        result = await store.commit(
            Changes(writes([put("/d", DOCUMENT), first], [patch("/d", replace("/new/x", 2))], [delete("/d/null")]))
        )

        assert [Applied] * 3 == [type(outcome) for outcome in result.outcomes]
        assert await self.read(store, "/d") == {"list": [2, 3], "new": {"x": 2}, "scalar": 1}

    async def test_many_operations_are_one_patch(self, store: PolicyStore) -> None:
        """
        A patch of as many operations as a commit may have changes (500 where that has no limit) lands whole or not.
        """
        self.power(store, SupportsJsonPatch)
        size = min(store.traits.max_changes or 500, 500)
        await land(store, put("/many", {}))
        operations = [add(f"/{number}", number) for number in range(size)]
        await land(store, patch("/many", *operations))
        await refuse(store, patch("/many", *[remove(f"/{number}") for number in range(size - 1)], remove("/none")))

        assert {str(number): number for number in range(size)} == await self.read(store, "/many")

    async def test_patch_at_the_root(self, store: PolicyStore) -> None:
        """
        A patch of the root touches top-level keys by name and no others.
        """
        self.power(store, SupportsJsonPatch)
        await land(store, put("/a", 1), put("/b", {"x": 1}))
        await land(store, patch("/", add("/c", 3), remove("/a"), replace("/b/x", 2)))

        assert [MISSING, {"x": 2}, 3] == [await self.read(store, path) for path in ("/a", "/b", "/c")]
