"""What the engine should hold: every document that this agent wrote, as raw JSON.

Documents live in a trie of paths. A write below a document is kept as an edit of it; edits are folded in when the
document is read, or when they have grown as large as the document itself, so memory stays about the size of the JSON.
Every change can be taken back until `settle`, which is how a refused commit leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct

from cabochon.documents import json_tree, json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import PatchFailedError
from cabochon.sync.desired.document import Document, Folded, fold
from cabochon.sync.desired.journal import ChangeJournal
from cabochon.sync.desired.not_restored import NotRestored
from cabochon.transactions.changes import Change, DeleteData, PatchData, SetData

__all__ = ["DesiredState", "Mark"]


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


class _NotRestored(Struct, frozen=True, gc=False):
    """Puts the list of what is not restored back."""

    now: dict[DocumentPath, str]
    before: dict[DocumentPath, str]

    def restore(self) -> None:
        self.now.clear()
        self.now.update(self.before)


class Mark(NamedTuple):
    """How many changes of each kind are not settled yet."""

    undo: int
    claims: int
    releases: int
    touched: int


_SETTLED = Mark(0, 0, 0, 0)


@dataclass(slots=True)
class DesiredState:
    """The documents of one agent.

    `journal`, if there is one, hears of every change.

    `owned_facts` is for engines whose data are facts: there every path owns its own set, and a write below a path is
    no edit of it.
    """

    owned_facts: bool = False
    journal: ChangeJournal | None = None
    not_restored: NotRestored = field(default_factory=NotRestored)
    _root: _Node = field(default_factory=_Node)
    _undo: list[_Content | _Child | _NotRestored] = field(default_factory=list["_Content | _Child | _NotRestored"])
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
        if self.journal is not None:
            self.journal.settle(self.document)
        self._undo.clear()
        self._claims.clear()
        self._releases.clear()

    def rollback(self, mark: Mark = _SETTLED) -> None:
        """Take back every change since `mark` was returned, or since the last `settle`."""
        if self.journal is not None:
            self.journal.rollback(mark.touched)
        while len(self._undo) > mark.undo:
            self._undo.pop().restore()
        del self._claims[mark.claims :]
        del self._releases[mark.releases :]

    @property
    def mark(self) -> Mark:
        """How far the changes since `settle` have come."""
        touched = 0 if self.journal is None else self.journal.touched
        return Mark(len(self._undo), len(self._claims), len(self._releases), touched)

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
        self._written(path)
        if self.journal is not None:
            self.journal.wrote(path)
        node = self._made(path)
        self._undo.append(_Content(node, node.document, node.children))
        if node.document is None:
            self._claims.append(path)
        node.document = Document(value)
        if node.children:
            node.children = {}

    def _made(self, path: DocumentPath) -> _Node:
        """Return the node at `path`, which is made if there is none."""
        node = self._root
        for segment in path:
            below = node.children.get(segment)
            if below is None:
                below = _Node()
                self._undo.append(_Child(node.children, segment, None))
                node.children[segment] = below
            node = below
        return node

    def _written(self, path: DocumentPath) -> None:
        """Take note that whatever was not restored at `path` and below it is wanted no more."""
        if self.not_restored:
            self._undo.append(_NotRestored(self.not_restored, dict(self.not_restored)))
            for place in [place for place in self.not_restored if path.covers(place)]:
                del self.not_restored[place]

    def _delete(self, path: DocumentPath) -> None:
        holder, depth = self._holder(path)
        if holder is not None and depth < len(path):
            self._edit(holder, path, depth, DeleteData(DocumentPath(path[depth:])))
            return
        self._written(path)
        if self.journal is not None:
            self.journal.removed(path)
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
        if self.journal is not None:
            self.journal.edited(DocumentPath(path[:depth]), edit)
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

    def put_back(self, top: DocumentPath, documents: Mapping[DocumentPath, Document]) -> None:
        """Make these documents all that is at `top` and below it, at once and for good."""
        self._delete(top)
        for place in sorted(documents):
            self._made(place).document = documents[place]
            if self.journal is not None:
                self.journal.removed(place)
        self.settle()

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
