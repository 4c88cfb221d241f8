"""From the changes of a commit to the operations of one `PATCH /v1/data`. Pure: it asks nobody.

    OPA has              the commit                       the patch                     because
    nothing              set /a/b/c 1                     add /a {"b":{"c":1}}          OPA makes no parents
    nothing              set /a/b 1; set /a/c 2           add /a {"b":1}; add /a/c 2    the first child is to stay
    array /a             set /a/0 1                       replace /a/0 1                add pushes the others aside
    scalar /a            set /a 1; delete /a              remove /a                     of two at a path the last counts
    nothing              set /a 1; delete /a              -                             OPA has no such path: 404
    scalar /a            delete /a; set /a null           add /a null                   both as they came leave nothing
    whatever             patch /d replace /x 1            replace /d/x 1                OPA judges what overlaps nothing
    array /l             patch /l remove /5; set /l 1     remove /l/5; add /l 1         it may refuse what is covered

OPA knows add, remove and replace. So each change is put into operations that fit what is there: missing parents travel
inside the value that is added at the first of them. Of several operations at one path OPA keeps the last and judges it
by what was there before the patch. So where changes of a commit overlap, the planner works out what becomes of them
and sends that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import PatchFailedError, PathConflictError, StoreRejectedError, UnsupportedOperationError
from cabochon.transactions.changes import DataChange, DeleteData, PatchData, SetData
from cabochon_opa.data.commit_tree import CommitTree
from cabochon_opa.data.known_objects import KnownObjects
from cabochon_opa.data.plan import Place, Plan, RefusedChange
from cabochon_opa.data.pointers import is_index, looks_like_index

__all__ = ["PATCH_OPERATIONS", "overlap", "paths_to_ask_for", "plan"]

PATCH_OPERATIONS = frozenset({"add", "remove", "replace"})
"""What OPA knows of RFC 6902; move, copy and test are answered with 400."""

_APPEND = "-"


def paths_to_ask_for(places: Sequence[Place], known: KnownObjects, *, overlapping: bool) -> set[tuple[str, ...]]:
    """Return the paths of which the plan must know what is there, beyond what is known."""
    wanted: set[tuple[str, ...]] = set()
    for place in places:
        native = isinstance(place.change, PatchData)
        for path in _touched(place.change):
            if native and not overlapping and not any(map(looks_like_index, path)):
                continue
            if path[:-1] not in known:
                wanted.update(path[:depth] for depth in range(1, len(path)))
            if path and (overlapping or isinstance(place.change, DeleteData) or looks_like_index(path[-1])):
                wanted.add(path)
    return wanted


def _touched(change: DataChange) -> Iterator[tuple[str, ...]]:
    if isinstance(change, PatchData):
        for operation in change.operations:
            yield change.path.joined(operation.path)
    else:
        yield change.path


def overlap(places: Sequence[Place]) -> bool:
    """Tell whether two changes, or two operations of a patch, write at one path or one below the other."""
    touched = [tuple(path) for place in places for path in _touched(place.change)]
    seen = set(touched)
    if len(seen) < len(touched):
        return True
    return any(path[:depth] in seen for path in touched for depth in range(len(path)))


def plan(head: Plan, places: Iterable[Place], tree: CommitTree, *, overlapping: bool) -> Plan:
    """Put changes into operations, after those of `head`.

    Args:
        head: what comes first.
        places: the changes in order.
        tree: knows what is at the paths that `paths_to_ask_for` named.
        overlapping: what `overlap` says of the changes.

    Raises:
        RefusedChange: one of them can't be done.
    """
    planner = _Planner(head, tree, overlapping=overlapping)
    for place in places:
        try:
            planner.change(place)
        except StoreRejectedError as err:
            raise RefusedChange(err, None if isinstance(err, _UnclearError) else place.blame) from err
    return head.sealed()


class _UnclearError(UnsupportedOperationError):
    """It depends on what an earlier patch of the same commit has done to an array."""


class _Planner:
    def __init__(self, plan: Plan, tree: CommitTree, *, overlapping: bool) -> None:
        self._plan = plan
        self._tree = tree
        self._overlapping = overlapping
        # Operations that OPA may refuse: they must be sent, whatever covers them, for then the commit is refused.
        self._unjudged: set[int] = set()

    def change(self, place: Place) -> None:
        match place.change:
            case SetData(path, value):
                self._set(place, path, value)
            case DeleteData(path):
                self._delete(place, path)
            case PatchData(path, operations):
                for operation in operations:
                    self._patch(place, path, operation)

    # ------------------------------------------------------------------------------------------------ documents

    def _set(self, place: Place, path: DocumentPath, raw: bytes) -> None:
        _writable(path)
        missing = self._first_missing_parent(path)
        if missing:
            self._plan.new_parents.add(path[:-1])
            self._put(place, path[:missing], _nested(path[missing:], raw))
        elif len(path) > 1 and self._tree.kind(path[:-1]) == "array":
            if self._tree.kind(path) == "absent":
                raise _no_element(path, len(path) - 1)
            self._put(place, path, raw, element=True)
        else:
            self._put(place, path, raw)

    def _first_missing_parent(self, path: DocumentPath) -> int:
        """Return how many segments lead to the first parent that has to be made, 0 if all are there."""
        for depth in range(1, len(path)):
            match self._tree.kind(path[:depth]):
                case "object":
                    continue
                case "absent":
                    if depth > 1 and self._tree.kind(path[: depth - 1]) == "array":
                        raise _no_element(path, depth - 1)
                    return depth
                case "array":
                    if not is_index(path[depth]):
                        raise _no_element(path, depth)
                case "scalar":
                    above = DocumentPath(path[:depth])
                    raise PathConflictError(f"can't write {path}: its parent {above} is a scalar", path=str(path))
                case "unclear":
                    raise _unclear(path)
        return 0

    def _put(self, place: Place, path: tuple[str, ...], raw: bytes, *, element: bool = False) -> None:
        """Write what replaces whatever the commit has written at this path and below."""
        self._drop_below(path)
        number = self._plan.replace(place, path, raw) if element else self._plan.add(place, path, raw)
        self._tree.write(path, raw)
        self._tree.note(path, number)

    def _delete(self, place: Place, path: DocumentPath) -> None:
        _writable(path)
        for depth in range(1, len(path)):
            match self._tree.kind(path[:depth]):
                case "object":
                    continue
                case "array":
                    if not is_index(path[depth]):
                        return
                case "absent" | "scalar":
                    return
                case "unclear":
                    raise _unclear(path)
        if self._tree.kind(path) != "absent":
            self._take_out(place, path, element=len(path) > 1 and self._tree.kind(path[:-1]) == "array")

    def _take_out(self, place: Place, path: tuple[str, ...], *, element: bool = False) -> None:
        """Remove what is at this path, be it from before or written by the commit."""
        if element:
            number = self._plan.remove(place, path)
            self._tree.lose_sight(path[:-1])
            self._tree.note(path[:-1], number)
            return
        kept = self._drop_below(path)
        needed = kept or self._tree.kind_without(path) != "absent"
        self._tree.remove(path)
        if needed:
            self._tree.note(path, self._plan.remove(place, path))

    def _drop_below(self, path: tuple[str, ...]) -> bool:
        """Leave out what is covered by what comes now; True if OPA has to see it all the same."""
        covered = self._tree.operations_below(path)
        if not self._unjudged.isdisjoint(covered):
            return True
        for number in covered:
            self._plan.drop(number)
        return False

    # -------------------------------------------------------------------------------------------------- patches

    def _patch(self, place: Place, document: DocumentPath, operation: PatchOperation) -> None:
        path = document.joined(operation.path)
        if operation.op not in PATCH_OPERATIONS:
            raise UnsupportedOperationError(f"{path}: OPA's patches know no {operation.op!r}", path=str(path))
        _writable(path)
        self._refuse_leading_zeros(operation.op, path)
        raw = operation.value or b"null"
        # `add` with an empty pointer replaces a document that has to be there; OPA's would make it.
        op = "replace" if operation.op == "add" and not operation.path else operation.op
        if not self._overlapping and not looks_like_index(path[-1]):
            self._native(place, op, path, raw)
        elif path[-1] == _APPEND or self._tree.kind(path[:-1]) in {"array", "unclear"}:
            self._patch_element(place, op, path, raw)
        elif self._overlapping:
            self._patch_member(place, op, path, raw)
        else:
            self._native(place, op, path, raw)

    def _native(self, place: Place, op: str, path: tuple[str, ...], raw: bytes) -> int:
        """Let OPA judge it."""
        if op == "remove":
            number = self._plan.remove(place, path)
        elif op == "replace":
            number = self._plan.replace(place, path, raw)
        else:
            number = self._plan.add(place, path, raw)
        self._unjudged.add(number)
        return number

    def _patch_element(self, place: Place, op: str, path: tuple[str, ...], raw: bytes) -> None:
        """Patch an array: OPA does that right, whatever came before, but nobody knows what is where after it."""
        number = self._native(place, op, path, raw)
        self._tree.lose_sight(path[:-1])
        self._tree.note(path[:-1], number)

    def _patch_member(self, place: Place, op: str, path: DocumentPath, raw: bytes) -> None:
        """Patch a member of which is known whether it is there."""
        there, parent = self._tree.kind(path), self._tree.kind(path[:-1]) if len(path) > 1 else "object"
        if parent != "object" or (op != "add" and there == "absent"):
            reason = "its parent does not exist" if op == "add" else "it does not exist"
            raise PatchFailedError(f"can't {op} {path}: {reason}", path=str(path))
        if op == "remove":
            self._take_out(place, path)
        else:
            self._put(place, path, raw)

    def _refuse_leading_zeros(self, op: str, path: DocumentPath) -> None:
        for depth, segment in enumerate(path):
            wrong = segment.isdigit() and not is_index(segment)
            if wrong and depth and self._tree.kind(path[:depth]) in {"array", "unclear"}:
                raise PatchFailedError(f"can't {op} {path}: {segment!r} is no index of an array", path=str(path))


def _writable(path: DocumentPath) -> None:
    if not path:
        raise UnsupportedOperationError("/: the root of OPA's data holds what others keep there", path="/")
    if "" in path:
        # OPA strips slashes from both ends of a pointer and would write elsewhere.
        raise UnsupportedOperationError(f"{path.pointer()}: OPA can't address an empty key", path=str(path))


def _no_element(path: DocumentPath, depth: int) -> PathConflictError:
    above = DocumentPath(path[:depth])
    return PathConflictError(
        f"can't write {path}: its parent {above} is an array without an element {path[depth]!r}", path=str(path)
    )


def _unclear(path: DocumentPath) -> _UnclearError:
    return _UnclearError(f"{path}: an earlier patch of the same commit changes an array above it", path=str(path))


def _nested(segments: Sequence[str], raw: bytes) -> bytes:
    for segment in reversed(segments):
        raw = b"".join((b"{", msgspec.json.encode(segment), b":", raw, b"}"))
    return raw
