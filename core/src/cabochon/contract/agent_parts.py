"""What services and routes may do with the running agent: small protocols, so that a test can stand in for each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cabochon.contract.tracing import Tracer
    from cabochon.schemas import CallbackEntry, TransactionType

__all__ = ["Callbacks", "OpenTransaction", "PolicyStoreWrites", "SourceSwitch", "TraceFeed"]


class Callbacks(Protocol):
    """The register of update callbacks: who is told of every data update."""

    def put(self, entry: CallbackEntry) -> CallbackEntry:
        """Register a callback, under the key it brings or one made of its URL and config; return it with its key.

        The same callback under another key is replaced: nobody wants the same report twice.
        """
        ...

    def get(self, key: str) -> CallbackEntry | None:
        """Return the callback with this key, None if there is none."""
        ...

    def remove(self, key: str) -> bool:
        """Take a callback out and tell whether it was there."""
        ...

    def entries(self) -> list[CallbackEntry]:
        """Return every callback, sorted by key."""
        ...


class SourceSwitch(Protocol):
    """The switch between the agent and its update source. What is in the engine stays; commits and recovery go on."""

    @property
    def offline_mode(self) -> bool:
        """Whether `OPAL_OFFLINE_MODE_ENABLED` is set."""
        ...

    @property
    def disabled(self) -> bool:
        """Whether the agent leaves its source alone."""
        ...

    async def disable(self) -> bool:
        """Leave the source, and fetch nothing by ourselves any more; return False if it is so already.

        When this returns, the source is closed. Fetches of updates that had arrived before come to their end.
        """
        ...

    async def enable(self) -> bool:
        """Follow the source again, from its next connection on; return False if it is so already."""
        ...


class TraceFeed(Protocol):
    """Hands what became of each update to tracers."""

    def sent_to(self, tracer: Tracer) -> AbstractContextManager[None]:
        """Let a tracer hear of everything that ends inside this block."""
        ...


class OpenTransaction(Protocol):
    """Actions that will land together. Nothing reaches the engine before the block ends.

    It is one of data or one of policies: its first action decides, if nothing did before. Every action raises
    `TransactionError` when the transaction has ended or is of the other type, or when the data are no JSON.
    """

    @property
    def id(self) -> str:
        """What the log and the reports call it."""
        ...

    async def set_policy_data(self, data: object, path: str = "") -> None:
        """Replace the document at `path`; `data` is a plain JSON value, or raw JSON as bytes."""
        ...

    async def patch_policy_data(self, data: object, path: str = "") -> None:
        """Apply a JSON patch (RFC 6902), a list of operations or raw JSON, to the document at `path`."""
        ...

    async def delete_policy_data(self, path: str = "") -> None:
        """Remove what is at `path`; at the root, everything this agent has written."""
        ...

    async def set_policy(self, policy_id: str, policy_code: str) -> None:
        """Write one policy."""
        ...

    async def delete_policy(self, policy_id: str) -> None:
        """Remove one policy."""
        ...

    async def set_policies(self, policies: Mapping[str, str]) -> None:
        """Make these the whole set of policies, by id, in the order to load them."""
        ...


class PolicyStoreWrites(Protocol):
    """The policy store as plugins and services use it: through the agent's own pipeline.

    Example:
        >>> async def save(policy_store: PolicyStoreWrites) -> None:
        ...     async with policy_store.transaction_context("update-1") as tx:
        ...         await tx.set_policy_data({"role": "admin"}, path="/users/bob")
    """

    def transaction_context(
        self, transaction_id: str | None = None, transaction_type: TransactionType | None = None
    ) -> AbstractAsyncContextManager[OpenTransaction]:
        """Collect actions; leaving the block commits them, in order with all other updates, and waits for the outcome.

        An exception inside the block rolls back: nothing is written, and the error is recorded in the log.

        Raises:
            TransactionError: the commit failed; the message says why.
        """
        ...
