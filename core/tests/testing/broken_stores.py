"""Stores that break one promise each; `BROKEN` says which test of the kit has to notice it.

Those about documents are in broken_documents.py, those about order, patches and markers in broken_commits.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import anyio

from cabochon.contract.policy_store import StoreTraits
from cabochon.contract.powers import PolicyProblem
from cabochon.documents.path import DocumentPath
from cabochon.errors import PathConflictError, StoreRejectedError
from cabochon.transactions.changes import Change, Changes, DeletePolicy, ReplacePolicies, SetPolicy
from cabochon.transactions.commit_result import Applied, CommitResult

from .reference_store import NOTHING, Engine, Holding, Json, ReferenceStore

S = TypeVar("S", bound=type[ReferenceStore])


@dataclass(frozen=True)
class Case:
    """A store, and the test of the kit (with its parameters) that has to fail for it."""

    kind: type[ReferenceStore]
    test: str
    arguments: tuple[object, ...]


BROKEN: list[Case] = []


def breaks(test: str, *arguments: object) -> Callable[[S], S]:
    """Note that `test` of the kit, with these parameters, has to fail for the store."""

    def noted(store: S) -> S:
        BROKEN.append(Case(store, test, arguments))
        return store

    return noted


# ------------------------------------------------------------------------------------------------- every store


@breaks("test_powers_are_declared")
class HidesAPower(ReferenceStore):
    restart_token = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]


@breaks("test_traits_make_sense")
class KeepsNothing(ReferenceStore):
    traits = StoreTraits(policy_unit="none", data_unit="none", atomic="commit")


@breaks("test_commit_answers_for_each_write", 3)
class AnswersOnce(ReferenceStore):
    async def commit(self, changes: Changes) -> CommitResult:
        await super().commit(changes)
        return CommitResult((Applied(),))


@breaks("test_data_is_taken_or_refused_by_path")
class RefusesDataWithoutAName(ReferenceStore):
    traits = StoreTraits(policy_unit="files", data_unit="none", atomic="commit")

    def apply(self, holds: Holding, change: Change) -> None:
        raise StoreRejectedError("no")


@breaks("test_policies_are_taken_or_refused_by_id")
class SwallowsPolicies(ReferenceStore):
    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")


@breaks("test_unknown_patch_operation_is_refused_by_path", "move")
class IgnoresUnknownOperations(ReferenceStore):
    def refuse_operation(self, path: DocumentPath, op: str) -> None:
        """Do nothing."""


@breaks("test_refusal_harms_nothing_else")
class SulksAfterARefusal(ReferenceStore):
    def undo(self, before: Holding) -> None:
        before.up = False
        super().undo(before)


@breaks("test_the_same_commit_again_is_fine")
class InsertsOnly(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        if self.find(tree, path) is not NOTHING:
            raise StoreRejectedError("it is there already")
        super().put(tree, path, value)


@breaks("test_removing_nothing_is_fine")
class MissesWhatIsDeleted(ReferenceStore):
    def delete(self, tree: Json, path: DocumentPath) -> None:
        if self.find(tree, path) is NOTHING:
            raise PathConflictError("nothing there")
        super().delete(tree, path)


@breaks("test_commit_of_the_declared_size_is_taken")
class HasAHiddenLimit(ReferenceStore):
    async def commit(self, changes: Changes) -> CommitResult:
        if len(changes.flat()) > 100:
            return CommitResult.refused(changes, StoreRejectedError("too much"))
        return await super().commit(changes)


class OneAtATime(ReferenceStore):
    busy = False

    async def commit(self, changes: Changes) -> CommitResult:
        if self.busy:
            return CommitResult.refused(changes, StoreRejectedError("busy"))
        self.busy = True
        await anyio.sleep(0.002)
        self.busy = False
        return await super().commit(changes)


@breaks("test_policies_land_beside_data")
class RefusesCompany(OneAtATime):
    pass


@breaks("test_cancelled_commit_leaves_the_store_usable")
class StaysBusyWhenCancelled(OneAtATime):
    pass


@breaks("test_health_of_a_living_engine")
class HealthyOnce(ReferenceStore):
    async def health(self) -> None:
        await super().health()
        self.engine.holds.up = False


@breaks("test_unreachable_engine_is_reported")
class ClaimsToBeWell(ReferenceStore):
    async def health(self) -> None:
        """Say nothing."""


@breaks("test_unreachable_engine_is_reported")
class AppliesToNothing(ReferenceStore):
    async def commit(self, changes: Changes) -> CommitResult:
        return CommitResult.applied(changes)


@breaks("test_store_opens_and_closes_again")
class ClosesTheEngine(ReferenceStore):
    @classmethod
    @asynccontextmanager
    async def opened(cls, engine: Engine) -> AsyncGenerator[ReferenceStore]:
        yield cls(engine)
        engine.holds.up = False


@breaks("test_restart_token_stays")
class AnswersWithANewToken(ReferenceStore):
    tokens = count()

    async def restart_token(self) -> str:
        return str(next(self.tokens))


# ---------------------------------------------------------------------------------------------------- policies


@breaks("test_policies_are_kept_one_by_one")
class KeepsOnePolicy(ReferenceStore):
    def apply(self, holds: Holding, change: Change) -> None:
        if isinstance(change, SetPolicy):
            holds.policies.clear()
        super().apply(holds, change)


@breaks("test_policies_are_kept_one_by_one")
class NeverDeletesAPolicy(ReferenceStore):
    def apply(self, holds: Holding, change: Change) -> None:
        if not isinstance(change, DeletePolicy):
            super().apply(holds, change)


@breaks("test_set_of_policies_is_the_whole_set")
class AddsSetsOfPolicies(ReferenceStore):
    def apply(self, holds: Holding, change: Change) -> None:
        if isinstance(change, ReplacePolicies):
            holds.policies.update(change.policies)
        else:
            super().apply(holds, change)


@breaks("test_policies_are_judged_before")
class FindsAllPoliciesGood(ReferenceStore):
    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        return []
