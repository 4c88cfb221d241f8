"""Someone else who wipes the engine: what the demo needs of a policy store, and how its state gets lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol, runtime_checkable

import anyio

from cabochon import (
    Changes,
    CommitResult,
    ConfigurationError,
    DeleteData,
    DocumentPath,
    Guard,
    Marker,
    PluginOffer,
    PolicyStore,
    PolicyStoreType,
    ReplacePolicies,
    StoreUnavailableError,
    SupportsMarker,
    SupportsReadBack,
    Write,
)
from cabochon_demo.company import COLLECTIONS

__all__ = ["DemoStore", "open_stranger", "what_is_missing", "wipe"]


@runtime_checkable
class DemoStore(SupportsReadBack, SupportsMarker, Protocol):
    """A store whose contents can be looked at, and whose loss is noticed."""

    async def commit(self, changes: Changes) -> CommitResult:
        """See `PolicyStore.commit`."""
        ...


def what_is_missing(store: PolicyStore) -> str:
    """Say in one line why the demo can't be shown with this store, nothing if it can."""
    if store.traits.data_unit != "documents":
        return "it holds no JSON documents, and the demo's data are documents"
    if store.traits.policy_unit != "files":
        return "it takes no policies one by one, and the demo's are Rego files"
    if not isinstance(store, DemoStore):
        return "it can't be read back or keeps no marker, so there is nothing to check the promises with"
    return ""


@asynccontextmanager
async def open_stranger(
    offered: PluginOffer[PolicyStoreType], settings: object, store: DemoStore
) -> AsyncGenerator[DemoStore]:
    """Open the engine a second time, as another process would.

    An engine that lives inside its store can't be opened twice, nor can a store that listens at an address of its own:
    then it is the agent's own store that is used.
    """
    async with AsyncExitStack() as stack:
        try:
            other = await stack.enter_async_context(offered.registration.open(settings))
        except ConfigurationError:
            other = None
        if isinstance(other, DemoStore) and await other.read_marker() == await store.read_marker() is not None:
            yield other
        else:
            yield store


async def wipe(stranger: DemoStore) -> None:
    """Delete all data and policies and leave another marker, as `PUT /v1/data` to OPA by someone else would.

    Raises:
        StoreUnavailableError: the engine does not take it.
    """
    deletions = tuple(DeleteData(DocumentPath((name,))) for name in COLLECTIONS)
    await _commit(stranger, Changes((Write("stranger-policies", (ReplacePolicies({}),)),)))
    guard = Guard(expects=None, leaves=Marker("stranger", 1))
    await _commit(stranger, Changes((Write("stranger", deletions),), guard=guard))


async def _commit(stranger: DemoStore, changes: Changes) -> None:
    with anyio.fail_after(10):
        result = await stranger.commit(changes)
    if not result.landed:
        raise StoreUnavailableError(
            f"the engine does not let itself be wiped: {result.refusal or 'its answer was lost'}"
        )
