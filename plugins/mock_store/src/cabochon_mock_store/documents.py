"""The engine's data: one JSON tree, changed in place, with a journal that takes changes back.

A commit costs what its changes cost, not what the documents beside them weigh: before something is overwritten, the
journal keeps it, and `roll_back` puts it there again. Nothing is copied.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, NamedTuple, TypeAlias

from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import PatchFailedError, PathConflictError, StoreRejectedError

__all__ = ["MISSING", "Documents", "JsonValue"]

JsonValue: TypeAlias = Any
"""What `json_values.decode` returns: dict, list, str, int, decimal.Decimal, bool or None."""

MISSING: Final[JsonValue] = object()
"""Nothing is there; `None` is a JSON null, which is something."""

_DATA = "data"
_DIGITS = 19
"""No array is longer than what so many digits can say."""


class _Removed(NamedTuple):
    """In the journal: an element that was taken out of an array."""

    value: JsonValue


def _index(segment: str, length: int) -> int:
    """Return the array index that `segment` spells (RFC 6901: no sign, no leading zero), -1 if below no `length`."""
    if segment.isascii() and segment.isdigit() and (segment == "0" or segment[0] != "0") and len(segment) <= _DIGITS:
        index = int(segment)
        return index if index < length else -1
    return -1


class Documents:
    """A tree of dicts, lists and JSON scalars below a dict; numbers are `int` or `decimal.Decimal`.

    Values that are handed in become part of the tree, and values handed out are the tree's own: neither is to be
    changed by the caller.

    Args:
        reserved: top-level keys that a write to the root leaves alone.
    """

    def __init__(self, reserved: Container[str] = ()) -> None:
        self._reserved = reserved
        self._top: dict[str, Any] = {_DATA: {}}
        self._undo: list[tuple[Any, Any, Any]] = []

    @property
    def root(self) -> dict[str, Any]:
        """The whole tree, reserved keys included."""
        return self._top[_DATA]

    def public(self) -> dict[str, Any]:
        """The tree without its reserved keys, as a reader of the root sees it."""
        return {key: value for key, value in self.root.items() if key not in self._reserved}

    def get(self, path: tuple[str, ...]) -> JsonValue:
        """Return what is at `path`, `MISSING` if there is nothing."""
        node: Any = self._top[_DATA]
        for segment in path:
            node = _child(node, segment)
            if node is MISSING:
                return MISSING
        return node

    # ------------------------------------------------------------------------------------------- put and delete

    def put(self, path: tuple[str, ...], value: JsonValue) -> None:
        """Replace what is at `path`, creating missing parents.

        Raises:
            PathConflictError: a parent is a scalar, or an array without that element. Nothing has changed.
        """
        if not path:
            self._put_root(value)
            return
        node: Any = self._top[_DATA]
        last = len(path) - 1
        for depth, segment in enumerate(path):
            if node.__class__ is dict:
                child = node.get(segment, MISSING)
                if depth == last:
                    self._store(node, segment, child, value)
                    return
                if child is MISSING:
                    for parent in reversed(path[depth + 1 :]):
                        value = {parent: value}
                    self._store(node, segment, MISSING, value)
                    return
            else:
                index = _index(segment, len(node)) if node.__class__ is list else -1
                if index < 0:
                    raise _conflict(path, depth, node)
                child = node[index]
                if depth == last:
                    self._store(node, index, child, value)
                    return
            node = child

    def _put_root(self, value: JsonValue) -> None:
        if value.__class__ is not dict:
            raise PathConflictError("the root of the data must be an object", path="/")
        for key in value:
            if key in self._reserved:
                raise PathConflictError(f"/{key} is reserved: a root document can't write it", path=f"/{key}")
        root = self.root
        kept = {key: root[key] for key in root if key in self._reserved}
        self._store(self._top, _DATA, root, {**kept, **value})

    def delete(self, path: tuple[str, ...]) -> None:
        """Remove what is at `path`, if anything; at the root, everything that is not reserved."""
        if not path:
            self._put_root({})
            return
        parent = self.get(path[:-1])
        if _child(parent, path[-1]) is not MISSING:
            self._take_out(parent, path[-1])

    # --------------------------------------------------------------------------------------------- JSON patches

    def add(self, document: DocumentPath, below: DocumentPath, value: JsonValue) -> None:
        """Do `add` of a JSON patch to the document at `document`: a member, or an element put in before that index.

        An empty path replaces the document, which has to be there.

        Raises:
            PatchFailedError: there is no such document, parent or index. Nothing has changed.
            PathConflictError: the root would not be an object any more.
        """
        if not below:
            self.replace(document, below, value)
            return
        path = document.joined(below)
        parent = self.get(path[:-1])
        if parent.__class__ is dict:
            self._store(parent, path[-1], parent.get(path[-1], MISSING), value)
        elif parent.__class__ is not list:
            raise _patch_failed("add", path, "its parent does not exist")
        else:
            index = len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1)
            if index < 0:
                raise _patch_failed("add", path, "the array has no such index")
            self._undo.append((parent, index, MISSING))
            parent.insert(index, value)

    def replace(self, document: DocumentPath, below: DocumentPath, value: JsonValue) -> None:
        """Do `replace` of a JSON patch.

        Raises:
            PatchFailedError: there is nothing to replace. Nothing has changed.
            PathConflictError: the root would not be an object any more.
        """
        path = document.joined(below)
        parent = self.get(path[:-1])
        if not path:
            self._put_root(value)
            return
        old = _child(parent, path[-1])
        if old is MISSING:
            raise _patch_failed("replace", path, "it does not exist")
        self._store(parent, int(path[-1]) if parent.__class__ is list else path[-1], old, value)

    def remove(self, document: DocumentPath, below: DocumentPath) -> None:
        """Do `remove` of a JSON patch.

        Raises:
            PatchFailedError: there is nothing to remove, or it is the root. Nothing has changed.
        """
        path = document.joined(below)
        parent = self.get(path[:-1])
        if not path or _child(parent, path[-1]) is MISSING:
            raise _patch_failed("remove", path, "it does not exist" if path else "the root stays")
        self._take_out(parent, path[-1])

    # -------------------------------------------------------------------------------------------- the journal

    def _store(self, node: JsonValue, key: str | int, old: JsonValue, value: JsonValue) -> None:
        self._undo.append((node, key, old))
        node[key] = value

    def _take_out(self, parent: JsonValue, segment: str) -> None:
        if parent.__class__ is dict:
            self._undo.append((parent, segment, parent.pop(segment)))
        else:
            index = int(segment)
            self._undo.append((parent, index, _Removed(parent.pop(index))))

    def keep(self) -> None:
        """Make the changes since the last `keep` or `roll_back` final."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Take the changes since the last `keep` or `roll_back` back."""
        while self._undo:
            node, key, old = self._undo.pop()
            if old is MISSING:
                del node[key]
            elif old.__class__ is _Removed:
                node.insert(key, old.value)
            else:
                node[key] = old

    def reset(self, root: dict[str, Any]) -> None:
        """Begin anew with `root`."""
        self._top = {_DATA: root}
        self._undo.clear()


def _child(node: JsonValue, segment: str) -> JsonValue:
    if node.__class__ is dict:
        return node.get(segment, MISSING)
    if node.__class__ is list:
        index = _index(segment, len(node))
        return node[index] if index >= 0 else MISSING
    return MISSING


def _conflict(path: tuple[str, ...], depth: int, node: JsonValue) -> StoreRejectedError:
    parent = DocumentPath(path[:depth])
    reason = f"is an array without an element {path[depth]!r}" if node.__class__ is list else "is a scalar"
    where = DocumentPath(path)
    return PathConflictError(f"can't write {where}: its parent {parent} {reason}", path=str(where))


def _patch_failed(op: str, path: DocumentPath, reason: str) -> PatchFailedError:
    return PatchFailedError(f"can't {op} {path or ROOT}: {reason}", path=str(path))
