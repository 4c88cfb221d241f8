'''Contract kit for stores built on `cabochon.kit.facts`: what an engine must do with a call, and what comes of it all.

    class TestAcmeStore(FactStoreContract):
        """The Acme store keeps the contract."""

        missing_powers = frozenset({"attributes", "export", "json_patch", "marker", "validation"})
        example_data = (
            SetData(DocumentPath(("first",)), b'["ann reads plan"]'),
            SetData(DocumentPath(("second",)), b'["bob reads plan"]'),
        )

        @pytest.fixture
        async def store(self):
            async with AcmeStore(...).opened() as store:
                yield store

        def fact(self, number):
            return f"user{number} reads plan"

What the store can't do is declared in `missing_powers`; every other promise is tested.
'''

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, TypeAlias

import anyio
import pytest

from cabochon.documents import json_values
from cabochon.documents.path import DocumentPath
from cabochon.errors import PathConflictError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.facts import UNOWNED, Call, FactSetStore
from cabochon.testing._commits import at, delete, land, refuse, writes
from cabochon.testing.policy_store_contract import PolicyStoreContract
from cabochon.transactions.changes import Changes, DeleteData, SetData
from cabochon.transactions.commit_result import Applied, Refused

__all__ = ["FactStoreContract"]

AnyStore: TypeAlias = FactSetStore[Any, Any]

_MANY = 250
"""More facts than most engines take in one call, and not a round number of calls of a hundred."""


class FactStoreContract(PolicyStoreContract):
    """What a store must do whose engine keeps facts: subclass it, provide `store` and `fact`.

    Attributes:
        missing_powers: as for `PolicyStoreContract`. On top come "attributes" (facts have nothing that may change of
            them, so there is no `changed`), "refusal" (the engine refuses no fact that is one, so there is no
            `refused_fact`) and "prune" (the test class does not provide `open_pruning`).
        no_facts: a document that is no set of facts.
    """

    optional: ClassVar[frozenset[str]] = PolicyStoreContract.optional | {"attributes", "prune", "refusal"}
    no_facts: ClassVar[bytes] = b'"no facts"'

    @pytest.fixture
    def open_pruning(self) -> Callable[[], AbstractAsyncContextManager[AnyStore]]:
        """Opens one more store on the engine of `store`, as a new life of the agent, with `prune="all"` ("prune")."""
        self._missing("prune", "open_pruning")

    def fact(self, number: int) -> object:
        """Return fact `number` as it stands in a document; each number gives another one."""
        raise NotImplementedError("provide `fact`: the JSON of one fact, another one for each number")

    def changed(self, number: int) -> object:  # noqa: ARG002 - for those that have it
        """Return the fact `fact(number)` with another attribute ("attributes")."""
        self._missing("attributes", "changed")

    def refused_fact(self) -> object:
        """Return what `parse` takes for a fact and the engine refuses to write ("refusal")."""
        self._missing("refusal", "refused_fact")

    def document(self, facts: Sequence[object]) -> bytes:
        """Return the raw JSON of a document with these facts; override it where that is no array."""
        return json_values.encode(list(facts))

    # -------------------------------------------------------------------------------------------------- ownership

    async def test_put_replaces_the_facts_of_its_path(self, store: AnyStore) -> None:
        """
        A PUT leaves no fact of its path that it does not name.
        """
        await land(store, self._put("/docs", 1, 2))
        await land(store, self._put("/docs", 2, 3))

        assert await self._held(store) == self._facts(store, 2, 3)

    async def test_write_takes_away_what_paths_below_own(self, store: AnyStore) -> None:
        """
        A PUT or DELETE takes away what the paths below it own, by segment.
        """
        await land(store, self._put("/docs/plans", 1), self._put("/docs2", 2), self._put("/docs/notes", 3))
        await land(store, self._put("/docs", 4))
        assert await self._held(store) == self._facts(store, 2, 4)
        await land(store, self._put("/docs/plans", 1))
        await land(store, delete("/docs"))

        assert await self._held(store) == self._facts(store, 2)

    async def test_fact_of_two_owners_stays(self, store: AnyStore) -> None:
        """
        A fact that two paths own goes when the last of them lets go.
        """
        await land(store, self._put("/docs", 1), self._put("/teams", 1))
        await land(store, self._put("/docs"))
        assert await self._held(store) == self._facts(store, 1)
        await land(store, delete("/teams"))

        assert await self._held(store) == {}

    async def test_attribute_is_changed(self, store: AnyStore) -> None:
        """
        A fact that is written with another attribute has that one, and no other.
        """
        await land(store, self._put("/docs", 1, 2))
        change = SetData(at("/docs"), self.document([self.changed(1), self.fact(2)]))
        await land(store, change)

        expected = dict(store.parse(change.path, change.value))
        assert await self._held(store) == expected
        assert expected != self._facts(store, 1, 2), "`changed` gives the fact with another attribute"
        assert expected.keys() == self._facts(store, 1, 2).keys(), "`changed` gives the same fact as `fact`"

    async def test_owners_that_differ_are_refused(self, store: AnyStore) -> None:
        """
        A fact that two paths would own with different attributes is refused, naming both paths.
        """
        other = SetData(at("/teams"), self.document([self.changed(1)]))
        await land(store, self._put("/docs", 1))
        error = await refuse(store, other)

        assert isinstance(error, PathConflictError)
        assert "/docs" in str(error)
        assert "/teams" in str(error)
        assert await self._held(store) == self._facts(store, 1)

    # ---------------------------------------------------------------------------------------------------- reading

    async def test_document_without_facts_is_refused(self, store: AnyStore) -> None:
        """
        A document that is no set of facts is refused, naming its path.
        """
        await land(store, self._put("/docs", 1))
        for value in (self.no_facts, b'{"broken'):
            assert "/docs/plans" in str(await refuse(store, SetData(at("/docs/plans"), value)))

        assert await self._held(store) == self._facts(store, 1)

    async def test_wrong_element_is_refused_by_index(self, store: AnyStore) -> None:
        """
        A document with an element that is no fact is refused, naming the path and the element.
        """
        value = self.document([self.fact(1), self.fact(2), 12345])
        error = await refuse(store, SetData(at("/docs"), value))

        assert "/docs" in str(error)
        assert "2" in str(error).replace("12345", "")
        assert await self._held(store) == {}

    # ------------------------------------------------------------------------------------------------------ calls

    async def test_call_can_be_made_again(self, store: AnyStore) -> None:
        """
        Writing what is there and deleting what is not is fine, so that a call whose answer was lost can be made again.
        """
        await land(store, self._put("/docs"))
        facts = self._facts(store, 1, 2)
        for _ in range(2):
            await store.write_facts(Call((), facts))
        assert await self._held(store) == facts
        for _ in range(2):
            await store.write_facts(Call(tuple(facts), {}))

        assert await self._held(store) == {}

    async def test_call_is_all_or_nothing(self, store: AnyStore) -> None:
        """
        A call with a fact that the engine refuses raises `StoreRejectedError` and does nothing.
        """
        await land(store, self._put("/docs", 1))
        path = at("/docs")
        bad = store.parse(path, self.document([self.fact(2), self.refused_fact()]))
        with pytest.raises(StoreRejectedError):
            await store.write_facts(Call(tuple(self._facts(store, 1)), bad))

        assert await self._held(store) == self._facts(store, 1)

    async def test_large_set_lands(self, store: AnyStore) -> None:
        """
        A set of more facts than fit one call lands, and a write that changes one of them sends one.
        """
        size = max(_MANY, 2 * (store.facts_per_call or 0) + 1)
        await land(store, self._put("/docs", *range(size)))
        assert await self._held(store) == self._facts(store, *range(size))
        sent = _counted(store)
        await land(store, self._put("/docs", *range(1, size)))

        assert sum(sent) == 1
        assert await self._held(store) == self._facts(store, *range(1, size))

    async def test_small_writes_share_a_call(self, store: AnyStore) -> None:
        """
        Small writes of one commit go together, as far as one call holds.
        """
        await store.commit(Changes(writes([self._put("/warm", 0)])))
        sent = _counted(store)
        together = min(store.facts_per_call or 3, 3)
        result = await store.commit(Changes(writes(*[[self._put(f"/a{n}", n)] for n in range(1, together + 1)])))

        assert [Applied] * together == [type(outcome) for outcome in result.outcomes]
        assert sent == [together]

    async def test_refused_large_write_is_taken_back(self, store: AnyStore) -> None:
        """
        A write of several calls of which one is refused leaves everything as it was before.
        """
        size = max(_MANY, 2 * (store.facts_per_call or 0) + 1)
        await land(store, self._put("/docs/plans", 1), self._put("/docs", -1))
        await land(store, self._put("/docs/plans", 2))
        before = await self._held(store)
        await refuse(store, SetData(at("/docs"), self.document([*map(self.fact, range(3, size)), self.refused_fact()])))

        assert await self._held(store) == before

    async def test_refused_write_harms_no_other(self, store: AnyStore) -> None:
        """
        Of writes that share a call, only the one that the engine refuses is refused.
        """
        bad = SetData(at("/bad"), self.document([self.refused_fact()]))
        result = await store.commit(Changes(writes([self._put("/first", 1)], [bad], [self._put("/last", 2)])))

        assert [Applied, Refused, Applied] == [type(outcome) for outcome in result.outcomes]
        assert await self._held(store) == self._facts(store, 1, 2)

    async def test_cancelled_large_write_goes_on(self, store: AnyStore) -> None:
        """
        A large write that is cancelled again and again lands in the end, and leaves nothing that was taken back since.
        """
        size = max(_MANY, 2 * (store.facts_per_call or 0) + 1)
        for delay in (0, 0.001, 0.01):
            with anyio.move_on_after(delay):
                await store.commit(Changes(writes([self._put("/docs", *range(size))])))
        await land(store, self._put("/docs", *range(5, size)))
        assert await self._held(store) == self._facts(store, *range(5, size))
        await land(store, delete("/docs"))

        assert await self._held(store) == {}

    # -------------------------------------------------------------------------------------------- an earlier life

    async def test_new_life_removes_what_no_path_owns(
        self, store: AnyStore, open_pruning: Callable[[], AbstractAsyncContextManager[AnyStore]]
    ) -> None:
        """
        With `prune="all"` a new life shows what it found as one path, and deleting that removes what nobody owns now.
        """
        await land(store, self._put("/docs", 1, 2), self._put("/teams", 3))
        async with open_pruning() as new:
            assert await _owned_paths(new) == [UNOWNED]
            sent = _counted(new)
            await land(new, self._put("/docs", 1, 4))
            assert sent == [1], "what is there already is not sent"
            assert await self._held(new) == self._facts(store, 1, 2, 3, 4)
            await land(new, DeleteData(UNOWNED))
            assert await self._held(new) == self._facts(store, 1, 4)

    # ---------------------------------------------------------------------------------------------------- helpers

    def _put(self, path: str, *numbers: int) -> SetData:
        return SetData(at(path), self.document([self.fact(number) for number in numbers]))

    def _facts(self, store: AnyStore, *numbers: int) -> dict[Any, Any]:
        return dict(store.parse(DocumentPath(("facts",)), self.document([self.fact(number) for number in numbers])))

    async def _held(self, store: AnyStore) -> dict[Any, Any]:
        """Return what the engine says that it holds."""
        held: dict[Any, Any] = {}
        async for page in store.read_facts():
            held.update(page)
        return held


def _counted(store: AnyStore) -> list[int]:
    """Take note of how many facts each call names from now on."""
    sent: list[int] = []
    write = store.write_facts

    async def counted(call: Call[Any, Any]) -> str | None:
        sent.append(len(call))
        return await write(call)

    store.write_facts = counted
    return sent


async def _owned_paths(store: AnyStore) -> list[DocumentPath]:
    for _ in range(60):
        try:
            return list(await store.owned_paths())
        except StoreUnavailableError:
            await anyio.sleep(0.1)
    raise TimeoutError("what the engine holds is not read within a minute")
