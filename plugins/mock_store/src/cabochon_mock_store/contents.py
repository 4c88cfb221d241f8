"""What the engine holds, and how one commit changes all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cabochon.documents import json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import PatchFailedError, StateLostError, StoreRejectedError, UnsupportedOperationError
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeleteData,
    Guard,
    Marker,
    PatchData,
    PolicyChange,
    ReplacePolicies,
    SetData,
    SetPolicy,
)
from cabochon.transactions.commit_result import STATE, Blame
from cabochon_mock_store.documents import Documents

__all__ = ["PATCH_OPERATIONS", "RESERVED", "CommitRefused", "Contents"]

RESERVED = DocumentPath(("system",))
"""Where the agent's own state lives, as in OPA: a write to the root leaves it alone."""

PATCH_OPERATIONS = frozenset({"add", "remove", "replace"})
"""What the engine knows of RFC 6902, as OPA."""


class CommitRefused(Exception):  # noqa: N818 # it carries the error
    """A commit was refused and taken back: `error` says why, `blame` which change."""

    def __init__(self, error: StoreRejectedError, blame: Blame) -> None:
        super().__init__(str(error))
        self.error = error
        self.blame = blame


class Contents:
    """Documents, policies (source by id), the marker and the owned paths of one engine."""

    def __init__(self) -> None:
        self.documents = Documents(reserved=RESERVED)
        self.policies: dict[str, str] = {}
        self.marker: Marker | None = None
        self.owned: dict[DocumentPath, None] = {}
        self._new_policies: dict[str, str] | None = None

    def write(self, changes: Changes, veto: Callable[[Change], None] | None = None) -> None:
        """Do everything that `changes` says, or nothing.

        Args:
            changes: what to do.
            veto: called before each change; raises `StoreRejectedError` for one that must not be done.

        Raises:
            CommitRefused: a change can't be done; the others are not done either.
            StateLostError: the guard failed.
        """
        if changes.guard is not None:
            self._compare(changes.guard)
        self._new_policies = None
        place = (STATE, 0)
        apply = self._apply if veto is None else partial(self._apply_unless, veto)
        try:
            for write, transaction in enumerate(changes.writes):
                for number, change in enumerate(transaction.changes):
                    place = (write, number)
                    apply(change)
            for number, change in enumerate(changes.state):
                place = (STATE, number)
                apply(change)
        except StoreRejectedError as err:
            self.documents.roll_back()
            raise CommitRefused(err, Blame(*place)) from err
        self.documents.keep()
        self._finish(changes)

    def _compare(self, guard: Guard) -> None:
        if guard.expects is not None and guard.expects != self.marker:
            raise StateLostError(f"the mock engine holds the marker {self.marker}, not {guard.expects}")

    def _finish(self, changes: Changes) -> None:
        if self._new_policies is not None:
            self.policies = self._new_policies
        if changes.guard is not None:
            self.marker = changes.guard.leaves
        for path in changes.releases:
            self.owned.pop(path, None)
        self.owned.update(dict.fromkeys(changes.claims))

    def _apply_unless(self, veto: Callable[[Change], None], change: Change) -> None:
        veto(change)
        self._apply(change)

    def _apply(self, change: Change) -> None:
        if isinstance(change, SetData):
            self.documents.put(change.path, _decoded(change.value, change.path))
        elif isinstance(change, PatchData):
            self._patch(change)
        elif isinstance(change, DeleteData):
            self.documents.delete(change.path)
        else:
            self._apply_policy(change)

    def _patch(self, change: PatchData) -> None:
        for operation in change.operations:
            if operation.op == "add":
                self.documents.add(change.path, operation.path, _value_of(change, operation))
            elif operation.op == "replace":
                self.documents.replace(change.path, operation.path, _value_of(change, operation))
            elif operation.op == "remove":
                self.documents.remove(change.path, operation.path)
            else:
                path = str(change.path.joined(operation.path))
                message = f"{path}: this engine has no patch operation {operation.op!r}, only add, remove and replace"
                raise UnsupportedOperationError(message, path=path)

    def _apply_policy(self, change: PolicyChange) -> None:
        if isinstance(change, ReplacePolicies):
            self._new_policies = dict(change.policies)
            return
        if self._new_policies is None:
            self._new_policies = dict(self.policies)
        if isinstance(change, SetPolicy):
            self._new_policies[change.id] = change.source
        else:
            self._new_policies.pop(change.id, None)


def _decoded(raw: bytes, path: DocumentPath) -> object:
    try:
        return json_values.decode(raw)
    except json_values.JsonError as err:
        raise StoreRejectedError(f"the value for {path} is no JSON: {err}", path=str(path)) from err


def _value_of(change: PatchData, operation: PatchOperation) -> object:
    path = change.path.joined(operation.path)
    if operation.value is None:
        raise PatchFailedError(f"can't {operation.op} {path}: the operation has no value", path=str(path))
    return _decoded(operation.value, path)
