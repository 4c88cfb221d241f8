"""One document of the desired state: raw JSON and the edits since, folded in when somebody needs the result."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from cabochon.documents import json_tree, json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import Change, DeleteData, PatchData, SetData

__all__ = ["Document", "Folded", "fold", "fold_edits"]

_EDITS_BEFORE_FOLD_BYTES = 65_536
_EDIT_OVERHEAD_BYTES = 200


class Document(Struct, frozen=True, gc=False):
    """A document and the edits since, the newest first (a linked list, so that taking back is dropping the head)."""

    base: bytes
    edits: _Edits | None = None
    edit_bytes: int = 0

    def edited(self, edit: Change) -> Document:
        """Return the document with one more edit; its path is relative to the document."""
        return Document(self.base, _Edits(edit, self.edits), self.edit_bytes + _weight(edit))

    def changes(self) -> list[Change]:
        """Return the edits, the oldest first."""
        out: list[Change] = []
        edits = self.edits
        while edits is not None:
            out.append(edits.edit)
            edits = edits.older
        return out[::-1]

    def changes_since(self, earlier: Document) -> list[Change] | None:
        """Return the edits since `earlier`, the oldest first; None if this is not that document, edited further."""
        if self.base is not earlier.base:
            return None
        out: list[Change] = []
        edits = self.edits
        while edits is not earlier.edits:
            if edits is None:
                return None
            out.append(edits.edit)
            edits = edits.older
        return out[::-1]

    @property
    def wants_folding(self) -> bool:
        """Whether the edits have grown larger than the document."""
        return self.edit_bytes > max(_EDITS_BEFORE_FOLD_BYTES, len(self.base))


class _Edits(Struct, frozen=True, gc=False):
    edit: Change
    older: _Edits | None


class Folded(Struct, frozen=True):
    """A document with its edits applied; `failed` are those that do not apply, which changed nothing."""

    value: bytes | None
    failed: tuple[str, ...] = ()


def fold(document: Document) -> Folded:
    """Apply the edits of a document in order."""
    return fold_edits(document.changes(), document.base)


def fold_edits(edits: Sequence[Change], base: bytes) -> Folded:
    """Apply edits to a document in order; a pure function of plain values, so that another process can do it."""
    if not edits:
        return Folded(base)
    try:
        holder: json_tree.Holder = [json_values.decode(base)]
    except JsonError as err:
        return Folded(base, (str(err),) * len(edits))
    failed = _applied(holder, edits)
    try:
        return Folded(_encoded(holder), failed)
    except JsonError:
        # Together they nest it too deeply to be written down: find out which of them do.
        holder = [json_values.decode(base)]
        failed = _applied(holder, edits, checked=True)
        return Folded(_encoded(holder), failed)


def _applied(holder: json_tree.Holder, edits: Sequence[Change], *, checked: bool = False) -> tuple[str, ...]:
    """Apply edits in order and say why some do not; `checked`, each has to leave what can be written down."""
    failed: list[str] = []
    undo: json_tree.Undo = []
    for edit in edits:
        try:
            _apply(holder, edit, undo)
            if checked:
                _encoded(holder)
        except (StoreRejectedError, JsonError) as err:
            json_tree.rollback(undo)
            failed.append(str(err))
        undo.clear()
    return tuple(failed)


def _encoded(holder: json_tree.Holder) -> bytes | None:
    return None if holder[0] is json_tree.MISSING else json_values.encode(holder[0])


def _apply(holder: json_tree.Holder, edit: Change, undo: json_tree.Undo) -> None:
    match edit:
        case SetData(path, value):
            json_tree.put(holder, path, json_values.decode(value), undo)
        case DeleteData(path):
            json_tree.remove(holder, path, undo)
        case PatchData(path, operations):
            json_tree.patch(holder, _below(path, operations), undo)
        case _:
            msg = f"{type(edit).__name__} is no data change"
            raise TypeError(msg)


def _below(path: DocumentPath, operations: Sequence[PatchOperation]) -> tuple[PatchOperation, ...]:
    if not path:
        return tuple(operations)
    return tuple(
        PatchOperation(
            operation.op,
            path.joined(operation.path),
            operation.value,
            None if operation.source is None else path.joined(operation.source),
        )
        for operation in operations
    )


def _weight(edit: Change) -> int:
    match edit:
        case SetData(_, value):
            return len(value) + _EDIT_OVERHEAD_BYTES
        case PatchData(_, operations):
            return sum(len(operation.value or b"") + _EDIT_OVERHEAD_BYTES for operation in operations)
        case _:
            return _EDIT_OVERHEAD_BYTES
