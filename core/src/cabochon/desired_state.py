"""What the engine should hold: every document that this agent wrote, as raw JSON, and the policies.

Documents live in a trie of paths. A write below a document is kept as an edit of it; edits are folded in when the
document is read, or when they have grown as large as the document itself, so memory stays about the size of the JSON.
Every change can be taken back until `settle`, which is how a refused commit leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from cabochon import json_tree, json_values
from cabochon.document_path import ROOT, DocumentPath
from cabochon.errors import PatchFailedError, StoreRejectedError
from cabochon.json_values import JsonError
from cabochon.policy_store import Change, DeleteData, PatchData, PatchOperation, SetData

__all__ = ["DesiredState", "Document", "Folded", "fold", "fold_edits"]

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
    failed: list[str] = []
    undo: json_tree.Undo = []
    for edit in edits:
        try:
            _apply(holder, edit, undo)
        except (StoreRejectedError, JsonError) as err:
            json_tree.rollback(undo)
            failed.append(str(err))
        undo.clear()
    value = holder[0]
    return Folded(None if value is json_tree.MISSING else json_values.encode(value), tuple(failed))


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


class _Node:
    __slots__ = ("children", "document")

    def __init__(self) -> None:
        self.document: Document | None = None
        self.children: dict[str, _Node] = {}


class _Content(Struct, frozen=True, gc=False):
    """Puts a node's document and children back."""

    node: _Node
    document: Document | None
    children: dict[str, _Node]

    def restore(self) -> None:
        self.node.document, self.node.children = self.document, self.children


class _Child(Struct, frozen=True, gc=False):
    """Puts a child back, or takes it out again."""

    children: dict[str, _Node]
    key: str
    node: _Node | None

    def restore(self) -> None:
        if self.node is None:
            self.children.pop(self.key, None)
        else:
            self.children[self.key] = self.node


@dataclass(slots=True)
class DesiredState:
    """The documents of one agent.

    `owned_facts` is for engines whose data are facts: there every path owns its own set, and a write below a path is
    no edit of it.
    """

    owned_facts: bool = False
    policies: dict[str, str] = field(default_factory=dict[str, str])
    policy_hash: str | None = None
    _root: _Node = field(default_factory=_Node)
    _undo: list[_Content | _Child] = field(default_factory=list[_Content | _Child])
    _claims: list[DocumentPath] = field(default_factory=list[DocumentPath])
    _releases: list[DocumentPath] = field(default_factory=list[DocumentPath])
    _grown: dict[DocumentPath, None] = field(default_factory=dict[DocumentPath, None])

    # -------------------------------------------------------------------------------------------- changing, undoing

    def apply(self, change: Change, *, strict: bool = False) -> None:
        """Take note of a change that is about to be committed, or that must be written later.

        A JSON patch of what others keep in the engine can't be tracked: the engine decides on it, and it is not
        restored. `strict` refuses it instead, for when there is no engine to decide.

        Raises:
            PatchFailedError: see `strict`.
        """
        match change:
            case SetData(path, value):
                self._set(path, value)
            case DeleteData(path):
                self._delete(path)
            case PatchData(path, operations):
                self._patch(path, operations, strict=strict)
            case _:
                msg = f"{type(change).__name__} is no data change"
                raise TypeError(msg)

    def settle(self) -> None:
        """Make every change so far final."""
        self._undo.clear()
        self._claims.clear()
        self._releases.clear()

    def rollback(self) -> None:
        """Take back every change since the last `settle`."""
        while self._undo:
            self._undo.pop().restore()
        self._claims.clear()
        self._releases.clear()

    @property
    def pending(self) -> bool:
        """Whether there are changes since the last `settle`."""
        return bool(self._undo)

    @property
    def claims(self) -> tuple[DocumentPath, ...]:
        """Paths that hold a document since the last `settle` and held none before."""
        return tuple(self._claims)

    @property
    def releases(self) -> tuple[DocumentPath, ...]:
        """Paths whose document was removed since the last `settle`."""
        return tuple(self._releases)

    def _set(self, path: DocumentPath, value: bytes) -> None:
        holder, depth = self._holder(path)
        if holder is not None and depth < len(path):
            self._edit(holder, path, depth, SetData(DocumentPath(path[depth:]), value))
            return
        node = self._root
        for segment in path:
            below = node.children.get(segment)
            if below is None:
                below = _Node()
                self._undo.append(_Child(node.children, segment, None))
                node.children[segment] = below
            node = below
        self._undo.append(_Content(node, node.document, node.children))
        if node.document is None:
            self._claims.append(path)
        node.document = Document(value)
        if node.children:
            node.children = {}

    def _delete(self, path: DocumentPath) -> None:
        holder, depth = self._holder(path)
        if holder is not None and depth < len(path):
            self._edit(holder, path, depth, DeleteData(DocumentPath(path[depth:])))
            return
        self._releases.extend(self.owned(path))
        if not path:
            self._undo.append(_Content(self._root, self._root.document, self._root.children))
            self._root.document, self._root.children = None, {}
            return
        parent = self._find(path[:-1])
        if parent is not None and path[-1] in parent.children:
            self._undo.append(_Child(parent.children, path[-1], parent.children[path[-1]]))
            del parent.children[path[-1]]

    def _patch(self, path: DocumentPath, operations: tuple[PatchOperation, ...], *, strict: bool) -> None:
        holder, depth = self._holder(path)
        if holder is not None:
            self._edit(holder, path, depth, PatchData(DocumentPath(path[depth:]), operations))
            return
        for operation in operations:
            self._operate(path.joined(operation.path), operation, strict=strict)

    def _operate(self, path: DocumentPath, operation: PatchOperation, *, strict: bool) -> None:
        """Apply one operation of a patch whose own path holds no document: what it touches may."""
        holder, depth = self._holder(path)
        if holder is None and self._find(path[:-1] if operation.op == "add" else path) is None:
            if strict:
                msg = f"this agent holds nothing at {path} that a JSON patch could apply to"
                raise PatchFailedError(msg, path=str(path))
            return
        if holder is not None and depth < len(path):
            relative = PatchOperation(operation.op, DocumentPath(path[depth:]), operation.value)
            self._edit(holder, path, depth, PatchData(ROOT, (relative,)))
        elif operation.op == "remove":
            self._delete(path)
        elif operation.op in {"add", "replace"}:
            self._set(path, operation.value or b"null")
        else:
            msg = f"{operation.op} needs a document that this agent holds, and {path} is none"
            raise PatchFailedError(msg, path=str(path))

    def _edit(self, node: _Node, path: DocumentPath, depth: int, edit: Change) -> None:
        document = node.document
        if document is None:
            msg = "only a document can be edited"
            raise RuntimeError(msg)
        self._undo.append(_Content(node, document, node.children))
        node.document = document.edited(edit)
        if node.document.wants_folding:
            self._grown[DocumentPath(path[:depth])] = None

    def _holder(self, path: Sequence[str]) -> tuple[_Node | None, int]:
        """Find the node whose document a write at `path` goes into, and its depth."""
        if self.owned_facts:
            node = self._find(path)
            return (node, len(path)) if node is not None and node.document is not None else (None, 0)
        node = self._root
        for depth, segment in enumerate(path):
            if node.document is not None:
                return node, depth
            below = node.children.get(segment)
            if below is None:
                return None, 0
            node = below
        return (node, len(path)) if node.document is not None else (None, 0)

    def _find(self, path: Sequence[str]) -> _Node | None:
        node = self._root
        for segment in path:
            below = node.children.get(segment)
            if below is None:
                return None
            node = below
        return node

    # -------------------------------------------------------------------------------------------------- reading

    def document(self, path: DocumentPath) -> Document | None:
        """Return the document exactly at `path`."""
        node = self._find(path)
        return None if node is None else node.document

    def holder(self, path: DocumentPath) -> DocumentPath | None:
        """Return the path of the document that `path` lies in, None if it lies in none."""
        node, depth = self._holder(path)
        return None if node is None else DocumentPath(path[:depth])

    def owned(self, below: DocumentPath = ROOT) -> Iterator[DocumentPath]:
        """Yield the path of every document at `below` or under it, parents first, sorted."""
        top = self._find(below)
        if top is None:
            return
        stack = [(below, top)]
        while stack:
            path, node = stack.pop()
            if node.document is not None:
                yield path
            stack.extend((path / key, node.children[key]) for key in sorted(node.children, reverse=True))

    def read(self, path: DocumentPath, folded: Callable[[Document], Folded] = fold) -> bytes | None:
        """Compose what the engine should hold at `path` as raw JSON, None if nothing; facts are not composed."""
        node, depth = self._holder(path)
        if node is not None and node.document is not None:
            value = folded(node.document).value
            if depth == len(path) or value is None:
                return value
            found = json_tree.find([json_values.decode(value)], path[depth:])
            return None if found is json_tree.MISSING else json_values.encode(found)
        top = None if self.owned_facts else self._find(path)
        return None if top is None else _compose(top, folded)

    def replace_document(self, path: DocumentPath, seen: Document, value: bytes | None) -> None:
        """Put a folded document in place of the one it was folded from, unless that has changed meanwhile."""
        node = self._find(path)
        if node is not None and node.document is seen:
            node.document = None if value is None else Document(value)

    def take_grown(self) -> list[tuple[DocumentPath, Document]]:
        """Return the documents whose edits want folding, once."""
        grown = [(path, document) for path in self._grown if (document := self.document(path)) is not None]
        self._grown.clear()
        return [(path, document) for path, document in grown if document.wants_folding]


def _compose(node: _Node, folded: Callable[[Document], Folded]) -> bytes | None:
    if node.document is not None:
        return folded(node.document).value
    parts: list[bytes] = []
    for key, child in node.children.items():
        value = _compose(child, folded)
        if value is not None:
            parts.append(json_values.encode(key) + b":" + value)
    return b"{" + b",".join(parts) + b"}" if parts else None
