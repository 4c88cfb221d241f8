"""MockPolicyStore: one agent's connection to a `MockEngine`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from cabochon.contract.policy_store import PolicyStore, PolicyStoreType, StoreTraits
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.transactions.changes import Changes, Marker
from cabochon.transactions.commit_result import CommitResult
from cabochon_mock_store.contents import PATCH_OPERATIONS, RESERVED
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.settings import MockStoreSettings

__all__ = ["MockPolicyStore", "mock_store_type", "open_mock_store"]


class MockPolicyStore(PolicyStore):
    """Show an engine through the contract, with every power but validation."""

    traits: ClassVar[StoreTraits] = StoreTraits(
        policy_unit="files", data_unit="documents", atomic="commit", reserved=(RESERVED,)
    )

    def __init__(self, engine: MockEngine) -> None:
        self.engine = engine

    @property
    def patch_operations(self) -> frozenset[str]:
        """Those that OPA knows."""
        return PATCH_OPERATIONS

    async def commit(self, changes: Changes) -> CommitResult:
        """Write `changes`, all or nothing."""
        return await self.engine.commit(changes)

    async def health(self) -> None:
        """Return if the engine answers."""
        await self.engine.answer()

    async def get_data(self, path: DocumentPath) -> bytes | None:
        """Return the raw JSON at `path`; the root comes without `/system`."""
        await self.engine.answer()
        return self.engine.raw(path)

    async def get_policies(self) -> Mapping[str, str]:
        """Return the source of every policy by id."""
        await self.engine.answer()
        return self.engine.policies

    async def read_marker(self) -> Marker | None:
        """Return what the last guarded commit left."""
        await self.engine.answer()
        return self.engine.marker

    async def owned_paths(self) -> Sequence[DocumentPath]:
        """Return what agents claimed."""
        await self.engine.answer()
        return self.engine.owned_paths

    async def restart_token(self) -> str:
        """Return the engine's token."""
        await self.engine.answer()
        return self.engine.restart_token

    async def export_data(self) -> bytes:
        """Return all data but `/system`."""
        await self.engine.answer()
        return self.engine.raw(ROOT) or b"{}"


def mock_store_type(engine: MockEngine) -> PolicyStoreType:
    """Offer `engine` as the store `MOCK`, so that agents of one test can meet one engine again."""

    @asynccontextmanager
    async def open_store(_settings: object) -> AsyncGenerator[MockPolicyStore]:
        yield MockPolicyStore(engine)

    return PolicyStoreType(name="MOCK", summary="An engine of your test's", open=open_store, for_tests=True)


@asynccontextmanager
async def open_mock_store(settings: MockStoreSettings) -> AsyncGenerator[MockPolicyStore]:
    """Open a store on an engine of its own, which ends with it."""
    yield MockPolicyStore(MockEngine(latency_s=settings.latency.total_seconds(), history=settings.history))
