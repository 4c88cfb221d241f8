"""A transaction that has ended, and which of its paths are not as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from cabochon.documents.path import DocumentPath
from cabochon.schemas import RemoteStatus, StoreTransaction, TransactionType

__all__ = ["FailedPath", "InitialSource", "OutOfSync", "TransactionRecord"]


class FailedPath(Struct, frozen=True):
    """An entry whose write is not in force: where, and why.

    `put_off` means until the engine is back, `replaces` that the entry writes the whole document there.
    """

    path: DocumentPath
    reason: str
    put_off: bool = False
    replaces: bool = False


# size: all that is told of a transaction, to the log, its listeners and the peer's document; data without a life
class TransactionRecord(Struct, frozen=True, kw_only=True, gc=False):
    """A transaction that has ended.

    Attributes:
        number: its arrival number; 0 for policies, which have none.
        id: the update's id, or the policy bundle's hash.
        transaction_type: "data" or "policy".
        actions: what it did, in the peer's words, such as `set_policy_data`.
        success: everything was fetched and saved.
        error: why not, "" on success.
        created_at: Unix seconds of its arrival.
        ended_at: Unix seconds of its end.
        origin: the arrival number that decides what is newer: that of the first try where this is a retry.
        landed: paths whose whole document is now what this transaction wrote, or something newer.
        patched: paths whose JSON patch this transaction applied.
        failed: paths that this transaction should have written and did not, and that nothing in it wrote after that.
        source: the key of the initial data source that it synced, None for all else.
        remotes: the remote sources it asked, their URLs masked.
        version: the engine's version token after it, if there is one.
        malformed: where data files of the policies in force are no JSON, and why; None where it says nothing of that.
    """

    number: int
    id: str
    transaction_type: TransactionType = "data"
    actions: tuple[str, ...] = ()
    success: bool = True
    error: str = ""
    created_at: float = 0.0
    ended_at: float = 0.0
    origin: int = 0
    landed: tuple[DocumentPath, ...] = ()
    patched: tuple[DocumentPath, ...] = ()
    failed: tuple[FailedPath, ...] = ()
    source: int | None = None
    remotes: tuple[RemoteStatus, ...] = ()
    version: str | None = None
    malformed: Mapping[DocumentPath, str] | None = None

    def to_wire(self) -> StoreTransaction:
        """Write it as the peer's `StoreTransaction`."""
        return StoreTransaction(
            id=self.id,
            actions=self.actions,
            transaction_type=self.transaction_type,
            success=self.success,
            error=self.error,
            creation_time=_timestamp(self.created_at),
            end_time=_timestamp(self.ended_at),
            remotes_status=self.remotes or None,
        )


class InitialSource(Struct, frozen=True):
    """A base data source that must be synced once before the agent is ready."""

    path: DocumentPath
    number: int


class OutOfSync(Struct, frozen=True):
    """Why a path does not hold its latest update; `number` is that update's, `put_off` see `FailedPath`."""

    number: int
    reason: str
    put_off: bool = False


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()
