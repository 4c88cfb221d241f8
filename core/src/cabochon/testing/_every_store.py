"""What every policy store must do, whatever its engine keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Final, NoReturn, TypeVar

import anyio
import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import (
    SupportsExport,
    SupportsJsonPatch,
    SupportsMarker,
    SupportsOwnership,
    SupportsReadBack,
    SupportsRestartToken,
    SupportsValidation,
)
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreUnavailableError, UnsupportedOperationError
from cabochon.testing._commits import land, refuse, writes
from cabochon.testing._contract import Contract
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeleteData,
    DeletePolicy,
    PatchData,
    ReplacePolicies,
    SetData,
    SetPolicy,
)
from cabochon.transactions.commit_result import Applied, Unknown

__all__ = ["POWERS", "StoreTests"]

P = TypeVar("P")

POWERS: Final[Mapping[str, type]] = {
    "export": SupportsExport,
    "json_patch": SupportsJsonPatch,
    "marker": SupportsMarker,
    "ownership": SupportsOwnership,
    "read_back": SupportsReadBack,
    "restart_token": SupportsRestartToken,
    "validation": SupportsValidation,
}
"""The optional powers by the names that `missing_powers` uses; what a kit has in `optional` comes on top."""


class StoreTests(Contract):
    """What every policy store must do; see `PolicyStoreContract`."""

    missing_powers: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset({"reopen", "unreachable"})
    example_data: ClassVar[tuple[Change, Change]] = (
        SetData(DocumentPath(("contract", "first")), b'{"n": 1}'),
        SetData(DocumentPath(("contract", "second")), b'{"n": 2}'),
    )
    example_policies: ClassVar[Mapping[str, str]] = {
        "contract/first.rego": "package contract.policy.first\n\ndefault allow = false\n",
        "contract/second.rego": "package contract.policy.second\n\ndefault allow = true\n",
    }
    broken_policies: ClassVar[Mapping[str, str]] = {"contract/broken.rego": "package contract.broken\n\nallow {{{\n"}

    @pytest.fixture
    def store(self) -> PolicyStore:
        """An open store on an empty engine; usually an async fixture that yields it."""
        raise NotImplementedError("provide the fixture `store`: yield an open store on an empty engine")

    @pytest.fixture
    def open_again(self) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        """Opens one more store on the engine of `store` ("reopen")."""
        self._missing("reopen", "open_again")

    @pytest.fixture
    def unreachable_store(self) -> PolicyStore:
        """An open store whose engine can't be reached ("unreachable")."""
        self._missing("unreachable", "unreachable_store")

    def _missing(self, power: str, fixture: str) -> NoReturn:
        if power not in self.missing_powers:
            pytest.fail(f"provide the fixture `{fixture}`, or declare {power!r} in missing_powers")
        pytest.skip(f"declared in missing_powers: {power}")

    def power(self, store: PolicyStore, protocol: type[P]) -> P:
        """Return `store` as one that has a power, or skip the test if it is declared to lack it."""
        (name,) = (name for name, known in POWERS.items() if known is protocol)
        if name in self.missing_powers:
            assert not isinstance(store, protocol), f"missing_powers declares {name}, yet the store has it"
            pytest.skip(f"declared in missing_powers: {name}")
        assert isinstance(store, protocol), f"implement {protocol.__name__} or declare {name!r} in missing_powers"
        return store

    # ------------------------------------------------------------------------------------------- declarations

    async def test_powers_are_declared(self, store: PolicyStore) -> None:
        """
        What a store can't do is declared, so that no promise is skipped by accident.
        """
        unknown = self.missing_powers - POWERS.keys() - self.optional
        found = {name for name, protocol in POWERS.items() if isinstance(store, protocol)}

        assert not unknown, f"missing_powers names what no store has: {sorted(unknown)}"
        assert found == POWERS.keys() - self.missing_powers

    async def test_traits_make_sense(self, store: PolicyStore) -> None:
        """
        A store declares what it keeps, and limits that leave room for a change.
        """
        traits = store.traits

        assert (traits.policy_unit, traits.data_unit) != ("none", "none")
        assert traits.max_changes is None or traits.max_changes > 0
        assert traits.max_bytes is None or traits.max_bytes > 0

    # ------------------------------------------------------------------------------------------------ answers

    @pytest.mark.parametrize("count", [0, 1, 3])
    async def test_commit_answers_for_each_write(self, store: PolicyStore, count: int) -> None:
        """
        A commit's result has one outcome for each of its writes.
        """
        result = await store.commit(Changes(writes(*[(change,) for change in self.acceptable(store, count)])))

        assert [Applied] * count == [type(outcome) for outcome in result.outcomes]
        assert isinstance(result.state, Applied)

    async def test_data_is_taken_or_refused_by_path(self, store: PolicyStore) -> None:
        """
        A store without data refuses a change of data, naming the path and the reason.
        """
        path = DocumentPath(("contract", "unsupported"))
        if store.traits.data_unit != "none":
            await land(store, self.example_data[0])
            return
        for change in (SetData(path, b"{}"), DeleteData(path), PatchData(path, (PatchOperation("remove", path),))):
            _names(await refuse(store, change), str(path))

    async def test_policies_are_taken_or_refused_by_id(self, store: PolicyStore) -> None:
        """
        A store without policies refuses a policy, naming its id and the reason.
        """
        policy_id, source = next(iter(self.example_policies.items()))
        if store.traits.policy_unit != "none":
            await land(store, ReplacePolicies(self.example_policies))
            return
        for change in (SetPolicy(policy_id, source), ReplacePolicies({policy_id: source})):
            _names(await refuse(store, change), policy_id)

    @pytest.mark.parametrize("op", ["add", "remove", "replace", "move", "copy", "test"])
    async def test_unknown_patch_operation_is_refused_by_path(self, store: PolicyStore, op: str) -> None:
        """
        A patch operation that the store does not list is refused, naming the path and the reason.
        """
        known = store.patch_operations if isinstance(store, SupportsJsonPatch) else frozenset[str]()
        if op not in known:
            member, other = DocumentPath(("member",)), DocumentPath(("other",))
            operation = PatchOperation(op, member, b"1", other)  # pyright: ignore[reportArgumentType] # from the list
            path = DocumentPath(("contract", "unsupported"))
            _names(await refuse(store, PatchData(path, (operation,))), str(path))

    async def test_refusal_harms_nothing_else(self, store: PolicyStore) -> None:
        """
        After a refusal the store answers and writes as before.
        """
        await refuse(store, self.unacceptable(store))

        await store.health()
        for change in self.acceptable(store, 2):
            await land(store, change)

    async def test_the_same_commit_again_is_fine(self, store: PolicyStore) -> None:
        """
        Committing the same changes twice is no error, so that a lost answer can be tried again.
        """
        for _ in range(2):
            for change in self.acceptable(store, 2):
                await land(store, change)

    async def test_removing_nothing_is_fine(self, store: PolicyStore) -> None:
        """
        Removing data or a policy that is not there is no error.
        """
        if store.traits.data_unit != "none":
            await land(store, DeleteData(DocumentPath(("contract", "nothing", "here"))))
        if store.traits.policy_unit == "files":
            await land(store, DeletePolicy("contract/nothing.rego"))

    async def test_commit_of_the_declared_size_is_taken(self, store: PolicyStore) -> None:
        """
        A commit of as many changes as the store declares lands.
        """
        size = store.traits.max_changes or 1_000
        if store.traits.data_unit != "none":
            await land(store, *(self.example_data[number % 2] for number in range(size)))

    # ------------------------------------------------------------------------------------------------ company

    async def test_policies_land_beside_data(self, store: PolicyStore) -> None:
        """
        A commit of policies and commits of data run side by side and all land.
        """
        if "none" in {store.traits.data_unit, store.traits.policy_unit}:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(land, store, ReplacePolicies(self.example_policies))
            for change in self.example_data:
                await land(store, change)

    async def test_cancelled_commit_leaves_the_store_usable(self, store: PolicyStore) -> None:
        """
        A commit that is cancelled at any moment does no harm to the next one.
        """
        for delay in (0, 0.0005, 0.005):
            with anyio.move_on_after(delay):
                await store.commit(Changes(writes(self.acceptable(store, 1))))
            for change in self.acceptable(store, 2):
                await land(store, change)

    # ------------------------------------------------------------------------------------------------- health

    async def test_health_of_a_living_engine(self, store: PolicyStore) -> None:
        """
        `health` returns nothing while the engine answers, as often as it is asked.
        """
        for _ in range(3):
            assert await store.health() is None  # type: ignore[func-returns-value]

    async def test_unreachable_engine_is_reported(self, unreachable_store: PolicyStore) -> None:
        """
        An engine that can't be reached is a `StoreUnavailableError` of `health`, and no write counts as applied.
        """
        with pytest.raises(StoreUnavailableError):
            await unreachable_store.health()
        try:
            result = await unreachable_store.commit(Changes(writes(self.acceptable(unreachable_store, 1))))
        except StoreUnavailableError:
            return
        assert [Unknown] == [type(outcome) for outcome in result.outcomes]

    async def test_store_opens_and_closes_again(
        self, store: PolicyStore, open_again: Callable[[], AbstractAsyncContextManager[PolicyStore]]
    ) -> None:
        """
        A store can be opened and closed any number of times, and closing one harms no other.
        """
        for _ in range(2):
            async with open_again() as another:
                for change in self.acceptable(another, 2):
                    await land(another, change)
            await store.health()
        for change in self.acceptable(store, 2):
            await land(store, change)

    async def test_restart_token_stays(self, store: PolicyStore) -> None:
        """
        The restart token says something, and stays the same while the engine lives.
        """
        engine = self.power(store, SupportsRestartToken)
        before = await engine.restart_token()
        for change in self.acceptable(store, 2):
            await land(store, change)

        assert before
        assert before == await engine.restart_token()

    # ------------------------------------------------------------------------------------------------ helpers

    def acceptable(self, store: PolicyStore, count: int) -> list[Change]:
        """Return `count` changes that the engine accepts, each in a write of its own."""
        if store.traits.data_unit != "none":
            return [self.example_data[number % 2] for number in range(count)]
        return [ReplacePolicies(self.example_policies)] * count

    def unacceptable(self, store: PolicyStore) -> Change:
        """Return a change that the engine can't express; override it for one that can express everything."""
        known = store.patch_operations if isinstance(store, SupportsJsonPatch) else frozenset[str]()
        assert "move" not in known, "override `unacceptable` with a change that the engine refuses"
        path = DocumentPath(("contract", "unsupported"))
        return PatchData(path, (PatchOperation("move", DocumentPath(("to",)), None, DocumentPath(("from",))),))


def _names(error: Exception, path: str) -> None:
    """See that a refusal for lack of power names what it is about and says more than that."""
    assert isinstance(error, UnsupportedOperationError), f"UnsupportedOperationError, not {error!r}"
    assert path in str(error), f"the message names {path}"
    assert error.path.startswith(path), f"`path` is {path} or below"
    assert len(str(error)) > len(path) + 10, "the message says why"
