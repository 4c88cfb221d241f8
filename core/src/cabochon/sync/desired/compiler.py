"""From an entry to the changes that an engine is asked for.

What no engine should have to know is dealt with here: a root document becomes its members, so that what others keep in
the engine stays; JSON patches are put into the operations that the engine knows, or worked out on our own copy of the
document where it knows none; paths that are not the agent's are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsJsonPatch
from cabochon.documents import json_tree, json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import JsonError
from cabochon.documents.off_loop import off_loop
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import PatchFailedError, PathConflictError, StoreRejectedError
from cabochon.sync.desired.document import fold_edits
from cabochon.sync.desired.put_off import PutOff
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.rules.update import Entry
from cabochon.transactions.changes import Change, DeleteData, PatchData, SetData

__all__ = ["ChangeCompiler", "chunks", "path_of", "weight_of"]


T = TypeVar("T")

_BLANKS = b" \t\n\r"


class ChangeCompiler:
    """Turns entries into changes, taking note of each in the desired state."""

    def __init__(
        self,
        store: PolicyStore,
        desired: DesiredState,
        protected: Iterable[DocumentPath],
        *,
        diverged: Callable[[], None],
    ) -> None:
        self._desired = desired
        self._documents = store.traits.data_unit == "documents"
        self._native = store.patch_operations if isinstance(store, SupportsJsonPatch) else None
        self._reserved = frozenset(store.traits.reserved)
        self._protected = (*store.traits.reserved, *protected)
        self._protected_heads = frozenset(path[0] for path in self._protected if path)
        self._diverged = diverged

    async def compile(self, entry: Entry, *, put_off: PutOff | None = None) -> tuple[Change, ...]:
        """Return the changes of an entry and apply them to the desired state.

        With `put_off` there is no engine to ask: the entry is judged by our own copy, and what was there is remembered.

        Raises:
            StoreRejectedError: the entry can't be written; the desired state is as before.
        """
        if self._desired.not_restored and put_off is None:
            self._need(entry)
        if entry.method == "PATCH":
            changes = await self._patch(entry.path, entry.operations)
        elif not entry.path and self._documents:
            changes = self._root(entry)
        else:
            self._allow(entry.path)
            changes = (
                DeleteData(entry.path) if entry.method == "DELETE" else SetData(entry.path, entry.raw or b"null"),
            )
        if put_off is not None:
            await self._check(changes)
            put_off.remember(entry.path)
        mark = self._desired.mark if entry.method == "PATCH" else None
        try:
            for change in changes:
                self._desired.apply(change, strict=put_off is not None)
        except PatchFailedError:
            if mark is not None:
                self._desired.rollback(mark)
            raise
        return changes

    async def _check(self, changes: Sequence[Change]) -> None:
        """Refuse what the engine would refuse, for when there is none to ask: it must apply to our own copy."""
        for change in changes:
            if isinstance(change, PatchData):
                await self._evaluate(change.path, partial(_patched, change.operations))
            elif isinstance(change, SetData):
                holder = self._desired.holder(change.path)
                if holder is not None and holder != change.path:
                    below = DocumentPath(change.path[len(holder) :])
                    await self._evaluate(holder, partial(_with, below, change.value))

    async def restore(self, path: DocumentPath) -> list[Change]:
        """Return what makes the engine hold at `path` what it should, whatever it holds now."""
        holder = self._desired.holder(path)
        if holder is None:
            holder = path
            # Of documents the root is none: others keep theirs there too.
            changes: list[Change] = [DeleteData(path)] if path or not self._documents else []
        elif await self._folded(holder) is None:
            changes = [DeleteData(holder)]
        else:
            changes = []
        # With facts, writing a path takes away what was owned below it: that is written again as well.
        for owned in self._desired.owned(holder):
            value = await self._folded(owned)
            if value is not None:
                changes.append(SetData(owned, value))
        return changes

    async def fold_grown(self) -> None:
        """Fold the documents whose edits have grown too large."""
        for path, _ in self._desired.take_grown():
            await self._folded(path)

    def _need(self, entry: Entry) -> None:
        """Refuse to write into a document that the engine does not hold, though it should."""
        if not self._documents:
            return
        paths = [entry.path] if entry.replaces else [entry.path, *map(entry.path.joined, _touched(entry.operations))]
        for held, why in self._desired.not_restored.items():
            for path in paths:
                if held.covers(path) and (held != path or not entry.replaces):
                    msg = f"the engine does not hold {held}, which it refuses: {why}"
                    raise PathConflictError(msg, path=str(path))

    def _allow(self, path: DocumentPath) -> None:
        if path and path[0] not in self._protected_heads:
            return
        for protected in self._protected:
            if protected.overlaps(path):
                msg = f"{path} overlaps {protected}, which is not for data updates; choose another dst_path"
                raise PathConflictError(msg, path=str(path))

    def _root(self, entry: Entry) -> tuple[Change, ...]:
        """Replace every document this agent owns, and nothing else."""
        raw = entry.raw or b"null"
        if raw.lstrip(_BLANKS)[:1] == b"[":
            # The root of an engine's data is an object: OPAL puts an array into its member `items`.
            raw = b'{"items":' + raw + b"}"
        try:
            members = {} if entry.method == "DELETE" else json_values.members(raw)
        except JsonError as err:
            msg = f"the document for / must be a JSON object: {err}"
            raise PathConflictError(msg, path="/") from err
        kept = {path[0] for path in self._reserved}
        stale = [path for path in self._desired.owned() if not path or path[0] not in members]
        return (
            *(DeleteData(path) for path in stale),
            *(SetData(ROOT / key, value) for key, value in members.items() if key not in kept),
        )

    async def _patch(self, path: DocumentPath, operations: tuple[PatchOperation, ...]) -> tuple[Change, ...]:
        for operation in operations:
            whole = path.joined(operation.path)
            self._allow(whole or ROOT)
        if self._documents and path and _begins_anew(operations):
            return (SetData(path, await _begun_anew(path, operations)),)
        if self._native is not None and all(operation.op in self._native for operation in operations):
            return (PatchData(path, operations),)
        if self._native is not None:
            translated = await self._evaluate(path, partial(_translated, operations, self._native))
            return (PatchData(path, translated),) if translated else ()
        if not path and self._documents:
            return await self._patch_members(operations)
        return (SetData(path, await self._evaluate(path, partial(_patched, operations))),)

    async def _patch_members(self, operations: Sequence[PatchOperation]) -> tuple[Change, ...]:
        """Patch the root where the engine can't: write the members that the operations touch."""
        members = json_values.members(await self._evaluate(ROOT, partial(_patched, operations)))
        touched = {path[0] for op in operations for path in (op.path, op.source) if path}
        return tuple(
            SetData(ROOT / key, members[key]) if key in members else DeleteData(ROOT / key) for key in sorted(touched)
        )

    async def _evaluate(self, path: DocumentPath, work: Callable[[bytes], T | str]) -> T:
        holder = self._desired.holder(path)
        if holder is not None:
            await self._folded(holder)
        document = self._desired.read(path)
        if document is None and not path and self._documents:
            document = b"{}"
        if document is None:
            msg = f"there is no document of this agent at {path} to apply the JSON patch to"
            raise PatchFailedError(msg, path=str(path))
        result = await off_loop(work, document)
        if isinstance(result, str):
            raise PatchFailedError(result, path=str(path))
        return result

    async def _folded(self, path: DocumentPath) -> bytes | None:
        """Fold the edits of the document at `path` into it and return it."""
        document = self._desired.document(path)
        if document is None:
            return None
        if document.edits is None:
            return document.base
        folded = await off_loop(partial(fold_edits, document.changes()), document.base)
        if folded.failed:
            if self._desired.pending:
                # Edits that the engine has not judged yet, and is about to refuse.
                return folded.value
            self._diverged()
        self._desired.replace_document(path, document, folded.value)
        return folded.value


def _begins_anew(operations: Sequence[PatchOperation]) -> bool:
    """Tell whether a patch begins with `add` at the document itself, and changes only what is in it after that."""
    return (
        bool(operations)
        and operations[0].op == "add"
        and not operations[0].path
        and all(one.path and (one.source is None or one.source) for one in operations[1:])
    )


async def _begun_anew(path: DocumentPath, operations: tuple[PatchOperation, ...]) -> bytes:
    """Return what a patch makes that begins with `add` at the document itself: there need not be one before."""
    value = operations[0].value or b"null"
    if len(operations) == 1:
        return value
    result = await off_loop(partial(_patched, operations[1:]), value)
    if isinstance(result, str):
        raise PatchFailedError(result, path=str(path))
    return result


def _patched(operations: Sequence[PatchOperation], document: bytes) -> bytes | str:
    """Apply a JSON patch; a refusal comes back as text, which any process can hand over."""
    try:
        holder: json_tree.Holder = [json_values.decode(document)]
        json_tree.patch(holder, operations, [])
        return json_values.encode(None if holder[0] is json_tree.MISSING else holder[0])
    except (StoreRejectedError, JsonError) as err:
        return str(err)


def _with(path: DocumentPath, value: bytes, document: bytes) -> bytes | str:
    try:
        holder: json_tree.Holder = [json_values.decode(document)]
        json_tree.put(holder, path, json_values.decode(value), [])
    except (StoreRejectedError, JsonError) as err:
        return str(err)
    return b""


def _translated(
    operations: Sequence[PatchOperation], native: frozenset[str], document: bytes
) -> tuple[PatchOperation, ...] | str:
    try:
        holder: json_tree.Holder = [json_values.decode(document)]
        return json_tree.translate(holder, operations, native, [])
    except (StoreRejectedError, JsonError) as err:
        return str(err)


def _touched(operations: Sequence[PatchOperation]) -> list[DocumentPath]:
    return [path for operation in operations for path in (operation.path, operation.source) if path is not None]


def weight_of(change: Change) -> int:
    """Return what a change counts towards `StoreTraits.max_changes`: a JSON patch counts as its operations."""
    return max(1, len(change.operations)) if isinstance(change, PatchData) else 1


def path_of(change: Change) -> DocumentPath | None:
    """Return where a data change writes, None for policies."""
    return change.path if isinstance(change, SetData | PatchData | DeleteData) else None


def chunks(changes: Sequence[Change], *, max_changes: int, max_bytes: int) -> list[list[Change]]:
    """Cut a list of changes into commits within the engine's limits; a single larger change travels alone."""
    out: list[list[Change]] = []
    size = count = 0
    for change in changes:
        weight = len(change.value) if isinstance(change, SetData) else 0
        if not out or count + weight_of(change) > max_changes or size + weight > max_bytes:
            out.append([])
            size = count = 0
        out[-1].append(change)
        size += weight
        count += weight_of(change)
    return out
