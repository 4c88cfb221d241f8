"""What a store must do that keeps the marker of the last commit, or the list of owned paths."""

from __future__ import annotations

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsMarker, SupportsOwnership
from cabochon.documents.path import DocumentPath
from cabochon.errors import StateLostError
from cabochon.testing._commits import MISSING, at, land, put, writes
from cabochon.testing._documents import DocumentTests
from cabochon.transactions.changes import Change, Changes, Guard, Marker
from cabochon.transactions.commit_result import CommitResult

__all__ = ["MarkerTests"]

FIRST = Marker("life-1", 1)
SECOND = Marker("life-1", 2)
STRANGERS = [
    pytest.param(Marker("life-1", 2), id="later number"),
    pytest.param(Marker("life-1", 0), id="earlier number"),
    pytest.param(Marker("life-2", 1), id="another life"),
    pytest.param(Marker("LIFE-1", 1), id="another spelling"),
]


async def guarded(store: PolicyStore, expects: Marker | None, leaves: Marker, *changes: Change) -> CommitResult:
    return await store.commit(Changes(writes(changes), guard=Guard(expects, leaves)))


class MarkerTests(DocumentTests):
    """Guards, markers, ownership; see `DocumentStoreContract`."""

    async def test_empty_engine_has_no_marker(self, store: PolicyStore) -> None:
        """
        An empty engine has no marker, and a commit without a guard leaves none.
        """
        engine = self.power(store, SupportsMarker)
        assert await engine.read_marker() is None
        await land(store, put("/a", 1))

        assert await engine.read_marker() is None

    async def test_guarded_commit_leaves_its_marker(self, store: PolicyStore) -> None:
        """
        A commit that expects the marker that is there lands and leaves its own.
        """
        engine = self.power(store, SupportsMarker)
        assert (await guarded(store, None, FIRST, put("/a", 1))).landed
        assert await engine.read_marker() == FIRST
        assert (await guarded(store, FIRST, SECOND, put("/a", 2))).landed

        assert await engine.read_marker() == SECOND
        assert await self.read(store, "/a") == 2

    async def test_guard_that_expects_nothing_takes_over(self, store: PolicyStore) -> None:
        """
        A guard that expects nothing in particular takes over whatever marker is there.
        """
        engine = self.power(store, SupportsMarker)
        await guarded(store, None, FIRST)
        assert (await guarded(store, None, Marker("life-2", 1), put("/a", 1))).landed

        assert await engine.read_marker() == Marker("life-2", 1)

    @pytest.mark.parametrize("expects", STRANGERS)
    async def test_guard_fails_on_another_marker(self, store: PolicyStore, expects: Marker) -> None:
        """
        A guard that expects another marker is a `StateLostError`, and nothing of the commit lands.
        """
        engine = self.power(store, SupportsMarker)
        await guarded(store, None, FIRST, put("/a", 1))
        with pytest.raises(StateLostError):
            await store.commit(
                Changes(writes([put("/a", 2)]), (put("/state", 1),), Guard(expects, SECOND), (at("/owned"),))
            )

        assert await engine.read_marker() == FIRST
        assert [1, MISSING] == [await self.read(store, path) for path in ("/a", "/state")]
        if isinstance(store, SupportsOwnership):
            assert list(await store.owned_paths()) == []

    async def test_guard_fails_on_an_empty_engine(self, store: PolicyStore) -> None:
        """
        An engine that has lost its state fails every guard that expects a marker, and stays empty.
        """
        engine = self.power(store, SupportsMarker)
        with pytest.raises(StateLostError):
            await guarded(store, FIRST, SECOND, put("/a", 1))

        assert await engine.read_marker() is None
        assert await self.read(store, "/a") is MISSING

    async def test_refused_commit_keeps_the_marker(self, store: PolicyStore) -> None:
        """
        A refused commit leaves the marker as it was, where commits are atomic.
        """
        engine = self.power(store, SupportsMarker)
        await guarded(store, None, FIRST, put("/a", 1))
        result = await guarded(store, FIRST, SECOND, put("/a/b", 1))

        assert result.refusal is not None
        if store.traits.atomic == "commit":
            assert await engine.read_marker() == FIRST

    async def test_commit_without_guard_keeps_the_marker(self, store: PolicyStore) -> None:
        """
        A commit without a guard, such as one of policies, leaves the marker alone.
        """
        engine = self.power(store, SupportsMarker)
        await guarded(store, None, FIRST)
        for change in self.acceptable(store, 2):
            await land(store, change)

        assert await engine.read_marker() == FIRST

    async def test_marker_moves_without_a_write(self, store: PolicyStore) -> None:
        """
        A commit of nothing but a guard compares and swaps the marker.
        """
        engine = self.power(store, SupportsMarker)
        assert (await guarded(store, None, FIRST)).landed
        await store.commit(Changes((), guard=Guard(FIRST, SECOND)))

        assert await engine.read_marker() == SECOND

    # ---------------------------------------------------------------------------------------------- ownership

    async def test_claims_are_listed_until_released(self, store: PolicyStore) -> None:
        """
        A claimed path is listed once, until it is released; releasing what nobody claimed is fine.
        """
        engine = self.power(store, SupportsOwnership)
        assert list(await engine.owned_paths()) == []
        odd = DocumentPath(("a/b", "~", "é %"))
        await store.commit(Changes((), claims=(at("/a"), at("/a/b"), odd)))
        await store.commit(Changes((), claims=(at("/a"),), releases=(at("/never"),)))
        assert sorted([at("/a"), at("/a/b"), odd]) == sorted(await engine.owned_paths())
        await store.commit(Changes(writes([put("/a", 1)]), releases=(at("/a"), odd)))

        assert list(await engine.owned_paths()) == [at("/a/b")]

    async def test_refused_commit_claims_nothing(self, store: PolicyStore) -> None:
        """
        A refused commit claims and releases nothing, where commits are atomic.
        """
        engine = self.power(store, SupportsOwnership)
        await store.commit(Changes(writes([put("/a", 1)]), claims=(at("/a"),)))
        await store.commit(Changes(writes([put("/a/b", 1)]), claims=(at("/c"),), releases=(at("/a"),)))

        if store.traits.atomic == "commit":
            assert list(await engine.owned_paths()) == [at("/a")]
