"""Short ways for a contract kit to write, and to look at what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Final

from cabochon.contract.policy_store import PolicyStore
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import encode
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import Change, Changes, DeleteData, PatchData, SetData, Write
from cabochon.transactions.commit_result import Applied, CommitResult, Refused

__all__ = ["MISSING", "add", "at", "delete", "land", "patch", "put", "refuse", "remove", "replace", "writes"]

MISSING: Final = object()
"""Nothing is there; a JSON null is something."""

_numbers = count(1)


def at(path: str) -> DocumentPath:
    """Read a `dst_path`."""
    return DocumentPath.parse(path)


def put(path: str | DocumentPath, value: object) -> SetData:
    """Replace what is at `path` by a value; `bytes` are taken as raw JSON."""
    raw = value if isinstance(value, bytes) else encode(value)
    return SetData(at(path) if not isinstance(path, DocumentPath) else path, raw)


def delete(path: str) -> DeleteData:
    """Remove what is at `path`."""
    return DeleteData(at(path))


def patch(path: str, *operations: PatchOperation) -> PatchData:
    """Patch the document at `path`."""
    return PatchData(at(path), operations)


def add(pointer: str, value: object) -> PatchOperation:
    """Write an `add`."""
    return PatchOperation("add", DocumentPath.from_pointer(pointer), encode(value))


def replace(pointer: str, value: object) -> PatchOperation:
    """Write a `replace`."""
    return PatchOperation("replace", DocumentPath.from_pointer(pointer), encode(value))


def remove(pointer: str) -> PatchOperation:
    """Write a `remove`."""
    return PatchOperation("remove", DocumentPath.from_pointer(pointer))


def writes(*transactions: Iterable[Change]) -> tuple[Write, ...]:
    """Make a write of each list of changes, under an id of its own."""
    return tuple(Write(f"contract-{next(_numbers)}", tuple(changes)) for changes in transactions)


async def land(store: PolicyStore, *changes: Change) -> CommitResult:
    """Commit `changes` as one transaction and see it applied."""
    result = await store.commit(Changes(writes(changes)))
    assert len(result.outcomes) == 1, "one outcome for the one write"
    assert isinstance(result.outcomes[0], Applied), f"the write is applied, not {result.outcomes[0]}"
    return result


async def refuse(store: PolicyStore, *changes: Change) -> StoreRejectedError:
    """Commit `changes` as one transaction, see it refused and return why."""
    result = await store.commit(Changes(writes(changes)))
    assert len(result.outcomes) == 1, "one outcome for the one write"
    outcome = result.outcomes[0]
    assert isinstance(outcome, Refused), f"the write is refused, not {outcome}"
    assert isinstance(outcome.error, StoreRejectedError), "a refusal carries a StoreRejectedError"
    return outcome.error
