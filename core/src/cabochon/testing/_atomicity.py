"""What a store must do about order, and about all or nothing."""

from __future__ import annotations

import anyio

from cabochon.contract.policy_store import PolicyStore
from cabochon.errors import StoreRejectedError
from cabochon.testing._commits import MISSING, delete, land, put, refuse, writes
from cabochon.testing._documents import DocumentTests
from cabochon.transactions.changes import Changes
from cabochon.transactions.commit_result import STATE, Applied, Blame, Refused

__all__ = ["AtomicityTests"]


class AtomicityTests(DocumentTests):
    """Order, and all or nothing; see `DocumentStoreContract`."""

    # -------------------------------------------------------------------------------------------------- order

    async def test_changes_take_effect_in_order(self, store: PolicyStore) -> None:
        """
        Changes of one write take effect in order.
        """
        await land(store, put("/a", {"x": 1}), delete("/a"), put("/a/y", 2), put("/a/y", 3), put("/b", 1), delete("/b"))

        assert await self.read(store, "/a") == {"y": 3}
        assert await self.read(store, "/b") is MISSING

    async def test_writes_take_effect_in_order(self, store: PolicyStore) -> None:
        """
        Writes of one commit take effect in order, the listeners' changes last.
        """
        transactions = writes([put("/a", {"x": 1})], [put("/a/y", 2)], [put("/b", 1)], [delete("/a/x")])
        await store.commit(Changes(transactions, (put("/b", "state"),)))

        assert await self.read(store, "/a") == {"y": 2}
        assert await self.read(store, "/b") == "state"

    # ----------------------------------------------------------------------------------------- all or nothing

    async def test_refused_write_leaves_nothing(self, store: PolicyStore) -> None:
        """
        Nothing of a write that is refused is in force, where commits or writes are atomic.
        """
        await land(store, put("/a", {"b": 1, "c": [1]}))
        await refuse(store, put("/new", 1), put("/a/c/0", 2), delete("/a/b"), put("/a", 5), put("/a/b/c", 1))

        if store.traits.atomic != "change":
            assert await self.read(store, "/a") == {"b": 1, "c": [1]}
            assert await self.read(store, "/new") is MISSING

    async def test_refused_commit_leaves_nothing(self, store: PolicyStore) -> None:
        """
        One refused write refuses the whole commit where commits are atomic, and itself alone elsewhere.
        """
        result = await store.commit(Changes(writes([put("/a", 1)], [put("/a/b", 1)], [put("/c", 1)])))

        together = store.traits.atomic == "commit"
        assert [Refused if together else Applied, Refused] == [type(outcome) for outcome in result.outcomes][:2]
        assert len(result.outcomes) == 3
        assert await self.read(store, "/a") == (MISSING if together else 1)
        assert await self.read(store, "/c") == (MISSING if isinstance(result.outcomes[2], Refused) else 1)

    async def test_blame_is_right(self, store: PolicyStore) -> None:
        """
        A store that says which change is to blame says the right one.
        """
        guilty = [put("/x", 1), put("/a/b", 1)]
        result = await store.commit(Changes(writes([put("/a", 1)], guilty, [put("/c", 1)])))
        assert result.blame in (None, Blame(1, 1))

        result = await store.commit(Changes(writes([put("/d", 1)]), (put("/e", 1), put("/d/e", 1))))
        assert result.blame in (None, Blame(STATE, 1))

    async def test_state_lands_with_the_writes(self, store: PolicyStore) -> None:
        """
        The listeners' changes land together with the writes or not at all, where commits are atomic.
        """
        good = await store.commit(Changes(writes([put("/a", 1)]), (put("/state", "good"),)))
        assert good.landed
        bad = await store.commit(Changes(writes([put("/a", 2)]), (put("/state", "bad"), put("/a/b", 1))))

        assert bad.refusal is not None
        if store.traits.atomic == "commit":
            assert [Refused] == [type(outcome) for outcome in bad.outcomes]
            assert (1, "good") == (await self.read(store, "/a"), await self.read(store, "/state"))

    async def test_state_alone_lands_or_is_refused(self, store: PolicyStore) -> None:
        """
        A commit of nothing but state lands, or says in `state` why not.
        """
        good = await store.commit(Changes((), (put("/state", 1),)))
        bad = await store.commit(Changes((), (put("/state/below", 1),)))

        assert good.landed
        assert isinstance(bad.refusal, StoreRejectedError)
        assert await self.read(store, "/state") == 1

    async def test_cancelled_commit_leaves_all_or_nothing(self, store: PolicyStore) -> None:
        """
        Of a write that is cancelled at any moment all is in force, or nothing, where commits or writes are atomic.
        """
        if store.traits.atomic == "change":
            return
        both: list[object] = []
        for number, delay in enumerate((0, 0.0002, 0.001, 0.005)):
            with anyio.move_on_after(delay):
                await store.commit(Changes(writes([put(f"/a{number}/x", 1), put(f"/b{number}", 1)])))
            for _ in range(20):  # the engine may still be at it
                both = [await self.read(store, f"/a{number}/x"), await self.read(store, f"/b{number}")]
                if both in ([1, 1], [MISSING, MISSING]):
                    break
                await anyio.sleep(0.05)
            assert both in ([1, 1], [MISSING, MISSING])

    async def test_readers_see_whole_commits(self, store: PolicyStore) -> None:
        """
        Whoever reads while commits land sees each of them as a whole, where commits are atomic.
        """
        await land(store, put("/pair", {"a": 0, "b": 0}))
        done = anyio.Event()

        async def look() -> None:
            while not done.is_set():
                pair = await self.read(store, "/pair")
                assert isinstance(pair, dict)
                assert pair["a"] == pair["b"] or store.traits.atomic != "commit"
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            for number in range(20):
                await store.commit(Changes(writes([put("/pair/a", number)], [put("/pair/b", number)])))
            done.set()
