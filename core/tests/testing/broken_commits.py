"""Stores that break one promise each about order, patches or markers; see broken_stores.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import anyio

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError, StoreUnavailableError
from cabochon.transactions.changes import Changes, DeleteData, Marker
from cabochon.transactions.commit_result import Blame, CommitResult

from .broken_stores import BROKEN, breaks
from .reference_store import NOTHING, Holding, Json, ReferenceStore


def reordered(changes: Changes, order: Callable[[Sequence[Any]], Sequence[Any]]) -> Changes:
    writes = tuple(type(write)(write.transaction_id, tuple(order(write.changes))) for write in changes.writes)
    return Changes(writes, changes.state, changes.guard, changes.claims, changes.releases)


__all__ = ["BROKEN"]


@breaks("test_changes_take_effect_in_order")
class DeletesLast(ReferenceStore):
    def write(self, changes: Changes) -> CommitResult:
        return super().write(reordered(changes, lambda all_of: sorted(all_of, key=lambda one: type(one) is DeleteData)))


@breaks("test_operations_take_effect_in_order")
class PatchesBackwards(ReferenceStore):
    def patch(self, tree: Json, path: DocumentPath, operations: Sequence[PatchOperation]) -> None:
        super().patch(tree, path, operations[::-1])


@breaks("test_writes_take_effect_in_order")
class WritesBackwards(ReferenceStore):
    def write(self, changes: Changes) -> CommitResult:
        return super().write(Changes(changes.writes[::-1], changes.state, changes.guard))


@breaks("test_refused_write_leaves_nothing")
@breaks("test_refused_commit_leaves_nothing")
@breaks("test_state_lands_with_the_writes")
@breaks("test_many_operations_are_one_patch")
@breaks("test_patch_that_does_not_apply_is_refused", PatchOperation("remove", DocumentPath(("missing",))))
class LeavesHalfOfIt(ReferenceStore):
    def undo(self, before: Holding) -> None:
        """Keep what is done."""


@breaks("test_blame_is_right")
class BlamesTheFirst(ReferenceStore):
    def write(self, changes: Changes) -> CommitResult:
        result = super().write(changes)
        blame = None if result.blame is None else Blame(0, 0)
        return CommitResult(result.outcomes, blame=blame, state=result.state)


@breaks("test_state_lands_with_the_writes")
class WritesStateLater(ReferenceStore):
    def write(self, changes: Changes) -> CommitResult:
        result = super().write(Changes(changes.writes, guard=changes.guard))
        return result if result.refusal else super().write(Changes((), changes.state))


@breaks("test_state_alone_lands_or_is_refused")
class SaysNothingOfState(ReferenceStore):
    async def commit(self, changes: Changes) -> CommitResult:
        result = await super().commit(changes)
        return CommitResult(result.outcomes)


class OneByOne(ReferenceStore):
    """Pauses after each change."""

    async def commit(self, changes: Changes) -> CommitResult:
        result = CommitResult.applied(changes)
        for write in changes.writes:
            for change in write.changes:
                self.apply(self.engine.holds, change)
                await anyio.sleep(0.0005)
        return result


@breaks("test_cancelled_commit_leaves_all_or_nothing")
class StopsHalfway(OneByOne):
    pass


@breaks("test_readers_see_whole_commits")
class ShowsHalfOfIt(OneByOne):
    pass


# ---------------------------------------------------------------------------------------------------- patches


@breaks("test_patch_operations_are_listed")
class KnowsNoRemove(ReferenceStore):
    @property
    def patch_operations(self) -> frozenset[str]:
        return frozenset({"add", "replace"})


@breaks("test_patch_changes_the_document", PatchOperation("add", DocumentPath(("list", "0")), b"0"), NOTHING)
class AddsByReplacing(ReferenceStore):
    def insert(self, node: list[Json], path: DocumentPath, value: Json) -> None:
        if path[-1] == "0":
            node[0] = value
        else:
            super().insert(node, path, value)


@breaks("test_patch_that_does_not_apply_is_refused", PatchOperation("add", DocumentPath(("list", "3")), b"1"))
class AppendsBeyondTheEnd(ReferenceStore):
    def insert(self, node: list[Json], path: DocumentPath, value: Json) -> None:
        node.append(value)


@breaks("test_patch_that_does_not_apply_is_refused", PatchOperation("add", DocumentPath(("missing", "x")), b"1"))
@breaks("test_patch_of_nothing_is_refused")
class AddsParents(ReferenceStore):
    def operate(self, tree: Json, document: DocumentPath, operation: PatchOperation) -> None:
        parent = document.joined(operation.path).parent
        if operation.op == "add" and self.find(tree, parent) is NOTHING:
            self.put(tree, parent, {})
        super().operate(tree, document, operation)


@breaks("test_patch_without_operations_is_fine")
class WantsOperations(ReferenceStore):
    def patch(self, tree: Json, path: DocumentPath, operations: Sequence[PatchOperation]) -> None:
        if not operations:
            raise StoreRejectedError("nothing to do")
        super().patch(tree, path, operations)


# ----------------------------------------------------------------------------------------- markers, ownership


@breaks("test_empty_engine_has_no_marker")
class IsBornWithAMarker(ReferenceStore):
    async def read_marker(self) -> Marker | None:
        return await super().read_marker() or Marker("", 0)


@breaks("test_guarded_commit_leaves_its_marker")
@breaks("test_marker_moves_without_a_write")
class KeepsTheFirstMarker(ReferenceStore):
    def finish(self, holds: Holding, changes: Changes) -> None:
        first = holds.marker
        super().finish(holds, changes)
        holds.marker = first or holds.marker


@breaks("test_guard_that_expects_nothing_takes_over")
class ExpectsNothing(ReferenceStore):
    def compare(self, changes: Changes) -> None:
        super().compare(changes)
        if changes.guard is not None and changes.guard.expects is None and self.engine.holds.marker is not None:
            raise StoreUnavailableError("taken")


@breaks("test_guard_fails_on_another_marker", Marker("life-2", 1))
@breaks("test_guard_fails_on_an_empty_engine")
class ComparesNothing(ReferenceStore):
    def compare(self, changes: Changes) -> None:
        """Let everything through."""


@breaks("test_guard_fails_on_another_marker", Marker("life-1", 0))
class ComparesLivesOnly(ReferenceStore):
    def compare(self, changes: Changes) -> None:
        marker = self.engine.holds.marker
        if (
            changes.guard is None
            or marker is None
            or changes.guard.expects is None
            or marker.epoch != changes.guard.expects.epoch
        ):
            super().compare(changes)


@breaks("test_guard_fails_on_another_marker", Marker("life-1", 2))
class ComparesTooLate(ReferenceStore):
    def write(self, changes: Changes) -> CommitResult:
        super().write(Changes(changes.writes))
        return super().write(changes)


@breaks("test_refused_commit_keeps_the_marker")
@breaks("test_refused_commit_claims_nothing")
class FinishesWhatIsRefused(ReferenceStore):
    def write(self, changes: Changes) -> CommitResult:
        result = super().write(changes)
        self.finish(self.engine.holds, changes)
        return result


@breaks("test_commit_without_guard_keeps_the_marker")
class DropsTheMarker(ReferenceStore):
    def finish(self, holds: Holding, changes: Changes) -> None:
        if changes.guard is None:
            holds.marker = None
        super().finish(holds, changes)


@breaks("test_marker_moves_without_a_write")
class SkipsEmptyCommits(ReferenceStore):
    async def commit(self, changes: Changes) -> CommitResult:
        return await super().commit(changes) if changes.writes else CommitResult.applied(changes)


@breaks("test_claims_are_listed_until_released")
class ListsClaimsTwice(ReferenceStore):
    def finish(self, holds: Holding, changes: Changes) -> None:
        owned = deepcopy(holds.owned)
        super().finish(holds, changes)
        holds.owned = [*(path for path in owned if path not in changes.releases), *changes.claims]


@breaks("test_claims_are_listed_until_released")
class ReleasesWhatLiesBelow(ReferenceStore):
    def finish(self, holds: Holding, changes: Changes) -> None:
        super().finish(holds, changes)
        holds.owned = [path for path in holds.owned if not any(gone.covers(path) for gone in changes.releases)]
