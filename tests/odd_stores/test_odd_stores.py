"""The contract fits engines that are nothing like OPA."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.documents.path import DocumentPath
from cabochon.testing.fact_store_contract import FactStoreContract
from cabochon.testing.policy_store_contract import PolicyStoreContract
from cabochon.transactions.changes import Changes, DeleteData, SetData, Write
from cabochon.transactions.commit_result import Applied, Refused, Unknown

from .fact_set_store import FactSetEngine, OddFactStore
from .policy_only_store import PolicyOnlyEngine, PolicyOnlyStore

EVERY_POWER = frozenset({"export", "json_patch", "marker", "ownership", "read_back", "restart_token", "validation"})
DOCS, TEAMS = DocumentPath(("docs",)), DocumentPath(("teams",))
READ, WRITE = ("ann", "reads", "plan"), ("ann", "writes", "plan")


class TestFactSetStore(FactStoreContract):
    """A store of facts keeps the contract, and that of facts."""

    missing_powers = EVERY_POWER - {"ownership"} | {"attributes"}
    example_data = (SetData(DOCS, b'[["ann","reads","plan"]]'), SetData(TEAMS, b'[["ann","reads","plan"]]'))

    @pytest.fixture
    def engine(self) -> FactSetEngine:
        return FactSetEngine(banned={"mallory"})

    @pytest.fixture
    def store(self, engine: FactSetEngine) -> OddFactStore:
        return OddFactStore(engine)

    @pytest.fixture
    def open_again(self, engine: FactSetEngine) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: nullcontext(OddFactStore(engine))

    @pytest.fixture
    def open_pruning(self, engine: FactSetEngine) -> Callable[[], AbstractAsyncContextManager[OddFactStore]]:
        return lambda: OddFactStore(engine, prune="all").opened()

    @pytest.fixture
    def unreachable_store(self) -> OddFactStore:
        return OddFactStore(FactSetEngine(up=False))

    def fact(self, number: int) -> object:
        return [f"user{number}", "reads", "plan"]

    def refused_fact(self) -> object:
        return ["mallory", "reads", "plan"]


class TestPolicyOnlyStore(PolicyStoreContract):
    """A store of policies and nothing else keeps the contract."""

    missing_powers = EVERY_POWER - {"read_back"}

    @pytest.fixture
    def engine(self) -> PolicyOnlyEngine:
        return PolicyOnlyEngine()

    @pytest.fixture
    def store(self, engine: PolicyOnlyEngine) -> PolicyOnlyStore:
        return PolicyOnlyStore(engine)

    @pytest.fixture
    def open_again(self, engine: PolicyOnlyEngine) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: nullcontext(PolicyOnlyStore(engine))

    @pytest.fixture
    def unreachable_store(self) -> PolicyOnlyStore:
        return PolicyOnlyStore(PolicyOnlyEngine(up=False))


def one(*changes: SetData | DeleteData) -> Changes:
    return Changes((Write("w", changes),))


async def test_fact_of_two_owners_stays_until_both_let_go() -> None:
    """A fact that two paths own goes when the last of them gives it up."""
    engine = FactSetEngine()
    store = OddFactStore(engine)
    await store.commit(one(SetData(DOCS, b'[["ann","reads","plan"],["ann","writes","plan"]]')))
    await store.commit(one(SetData(TEAMS, b'[["ann","reads","plan"]]')))
    await store.commit(one(SetData(DOCS, b"[]")))
    assert {READ} == engine.facts

    await store.commit(one(DeleteData(TEAMS)))
    assert set() == engine.facts


async def test_put_replaces_the_facts_of_its_path() -> None:
    """A PUT leaves no fact of its path that it does not name."""
    engine = FactSetEngine()
    store = OddFactStore(engine)
    for value in (b'[["ann","reads","plan"]]', b'[["ann","writes","plan"]]'):
        await store.commit(one(SetData(DOCS, value)))

    assert {WRITE} == engine.facts


@pytest.mark.parametrize(("lands", "expected"), [(True, {READ}), (False, set[object]())])
async def test_lost_answer_may_have_landed_or_not(lands: bool, expected: set[object]) -> None:  # noqa: FBT001
    """A write whose answer is lost is `Unknown`, the others of its commit are not; trying it again settles it."""
    engine = FactSetEngine(lose_answers=[lands])
    store = OddFactStore(engine)
    write = Write("lost", (SetData(DOCS, b'[["ann","reads","plan"]]'),))
    result = await store.commit(Changes((write, Write("other", (DeleteData(TEAMS),)))))
    assert [Unknown, Applied] == [type(outcome) for outcome in result.outcomes]
    assert expected == engine.facts

    assert (await store.commit(Changes((write,)))).landed
    assert {READ} == engine.facts


async def test_refused_write_of_facts_harms_no_other() -> None:
    """Where each write is atomic by itself, one that is refused leaves the others of its commit in force."""
    engine = FactSetEngine()
    good, bad = SetData(DOCS, b'[["ann","reads","plan"]]'), SetData(TEAMS, b'{"no": "facts"}')
    result = await OddFactStore(engine).commit(Changes((Write("bad", (good, bad)), Write("good", (good,)))))

    assert [Refused, Applied] == [type(outcome) for outcome in result.outcomes]
    assert {READ} == engine.facts
