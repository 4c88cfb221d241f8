"""Changes to a decoded JSON document, each of which can be taken back.

The rules are those of OPA's data API: a PUT creates missing parents, a JSON patch does not. Every function appends to
`undo` what takes its change back, so that a caller can give up after any number of them (`rollback`). A JSON patch
library would work on a copy of the whole document instead, which costs its size for every small patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeGuard

from cabochon.documents import json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import JsonTree
from cabochon.documents.path import DocumentPath
from cabochon.errors import PatchFailedError, PathConflictError, StoreRejectedError

__all__ = ["MISSING", "Holder", "Undo", "find", "patch", "put", "remove", "rollback", "translate"]

MISSING: JsonTree = object()
"""What `find` returns for nothing: JSON null is a value."""

Undo: TypeAlias = list[Callable[[], object]]
Holder: TypeAlias = list[JsonTree]
"""A list of one: the document itself, so that it can be replaced as a whole."""


def rollback(undo: Undo, mark: int = 0) -> None:
    """Take back every change after the first `mark`."""
    while len(undo) > mark:
        undo.pop()()


def find(holder: Holder, path: Sequence[str]) -> JsonTree:
    """Return the value at `path`, or `MISSING`."""
    value = holder[0]
    for segment in path:
        if _is_object(value):
            value = value.get(segment, MISSING)
        elif _is_array(value):
            index = _index(segment, len(value))
            value = MISSING if index is None else value[index]
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


def put(holder: Holder, path: DocumentPath, value: JsonTree, undo: Undo) -> None:
    """Set the value at `path`, creating objects on the way; an array element must exist.

    Raises:
        PathConflictError: the path runs through a scalar or past the end of an array.
    """
    if not path:
        _replace_all(holder, value, undo)
        return
    if holder[0] is MISSING:
        _replace_all(holder, {}, undo)
    node = holder[0]
    for depth, segment in enumerate(path[:-1], start=1):
        below = find([node], (segment,))
        if below is MISSING:
            if not _is_object(node):
                raise _conflict(path, depth - 1)
            below = dict[str, Any]()
            _set_member(node, segment, below, undo)
        node = below
    if _is_object(node):
        _set_member(node, path[-1], value, undo)
    elif _is_array(node) and (index := _index(path[-1], len(node))) is not None:
        _set_element(node, index, value, undo)
    else:
        raise _conflict(path, len(path) - 1)


def remove(holder: Holder, path: DocumentPath, undo: Undo) -> bool:
    """Remove the value at `path` and tell whether there was one; an object's member, an array's element, or all."""
    if not path:
        had = holder[0] is not MISSING
        _replace_all(holder, MISSING, undo)
        return had
    node = find(holder, path[:-1])
    if _is_object(node) and path[-1] in node:
        _drop_member(node, path[-1], undo)
        return True
    if _is_array(node) and (index := _index(path[-1], len(node))) is not None:
        value = node.pop(index)
        undo.append(lambda: node.insert(index, value))
        return True
    return False


def patch(holder: Holder, operations: Sequence[PatchOperation], undo: Undo) -> None:
    """Apply a JSON patch (RFC 6902) to the document, all of it or nothing.

    Raises:
        PatchFailedError: an operation does not apply; the message says which one and why.
    """
    mark = len(undo)
    for number, operation in enumerate(operations):
        try:
            _operate(holder, operation, undo)
        except StoreRejectedError as err:
            rollback(undo, mark)
            msg = f"operation {number} ({operation.op} {operation.path.pointer()!r}): {err}"
            raise PatchFailedError(msg, path=str(operation.path)) from err


def translate(
    holder: Holder, operations: Sequence[PatchOperation], native: frozenset[str], undo: Undo
) -> tuple[PatchOperation, ...]:
    """Apply a JSON patch and return it in the operations of `native`, which must hold add, remove and replace.

    Raises:
        PatchFailedError: as `patch`.
    """
    out: list[PatchOperation] = []
    mark = len(undo)
    for number, operation in enumerate(operations):
        try:
            if operation.op not in native:
                out.extend(_plain(holder, operation))
            else:
                out.append(operation)
            _operate(holder, operation, undo)
        except StoreRejectedError as err:
            rollback(undo, mark)
            msg = f"operation {number} ({operation.op} {operation.path.pointer()!r}): {err}"
            raise PatchFailedError(msg, path=str(operation.path)) from err
    return tuple(out)


def _plain(holder: Holder, operation: PatchOperation) -> list[PatchOperation]:
    if operation.op == "test":
        return []
    source = operation.source if operation.source is not None else DocumentPath()
    value = find(holder, source)
    if value is MISSING:
        raise _missing(source)
    if operation.op == "move" and source == operation.path:
        return []
    added = PatchOperation("add", operation.path, json_values.encode(value))
    return [added] if operation.op == "copy" else [PatchOperation("remove", source), added]


def _operate(holder: Holder, operation: PatchOperation, undo: Undo) -> None:
    path = operation.path
    match operation.op:
        case "add":
            _add(holder, path, _value(operation), undo)
        case "remove":
            if not remove(holder, path, undo):
                raise _missing(path)
        case "replace":
            if find(holder, path) is MISSING:
                raise _missing(path)
            put(holder, path, _value(operation), undo)
        case "test":
            if not _equal(find(holder, path), _value(operation)):
                msg = "the value there is another one"
                raise PatchFailedError(msg, path=str(path))
        case "move" | "copy":
            _transfer(holder, operation, undo)


def _transfer(holder: Holder, operation: PatchOperation, undo: Undo) -> None:
    source = operation.source if operation.source is not None else DocumentPath()
    value = find(holder, source)
    if value is MISSING:
        raise _missing(source)
    if operation.op == "copy":
        value = json_values.decode(json_values.encode(value))
    elif source == operation.path:
        return
    elif source.covers(operation.path):
        msg = "a value can't be moved into itself"
        raise PatchFailedError(msg, path=str(operation.path))
    else:
        remove(holder, source, undo)
    _add(holder, operation.path, value, undo)


def _add(holder: Holder, path: DocumentPath, value: JsonTree, undo: Undo) -> None:
    if not path:
        if holder[0] is MISSING:
            raise _missing(path)
        _replace_all(holder, value, undo)
        return
    node = find(holder, path[:-1])
    if _is_object(node):
        _set_member(node, path[-1], value, undo)
        return
    if _is_array(node):
        length = len(node)
        index = length if path[-1] == "-" else _index(path[-1], length + 1)
        if index is not None:
            node.insert(index, value)
            undo.append(lambda: node.pop(index))
            return
    raise _missing(DocumentPath(path[:-1]) if node is MISSING else path)


def _value(operation: PatchOperation) -> JsonTree:
    return json_values.decode(operation.value if operation.value is not None else b"null")


def _is_object(value: JsonTree) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: JsonTree) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _index(segment: str, length: int) -> int | None:
    if segment.isascii() and segment.isdigit() and (segment == "0" or segment[0] != "0"):
        index = int(segment)
        return index if index < length else None
    return None


def _equal(left: JsonTree, right: JsonTree) -> bool:
    """Compare as JSON does: `true` is not `1`, `1.0` is `1`."""
    if _is_object(left) and _is_object(right):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if _is_array(left) and _is_array(right):
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _set_member(node: dict[str, Any], key: str, value: JsonTree, undo: Undo) -> None:
    if key in node:
        old = node[key]
        undo.append(lambda: node.__setitem__(key, old))
    else:
        undo.append(lambda: node.__delitem__(key))
    node[key] = value


def _drop_member(node: dict[str, Any], key: str, undo: Undo) -> None:
    old = node.pop(key)
    undo.append(lambda: node.__setitem__(key, old))


def _set_element(node: list[Any], index: int, value: JsonTree, undo: Undo) -> None:
    old = node[index]
    undo.append(lambda: node.__setitem__(index, old))
    node[index] = value


def _replace_all(holder: Holder, value: JsonTree, undo: Undo) -> None:
    old = holder[0]
    undo.append(lambda: holder.__setitem__(0, old))
    holder[0] = value


def _conflict(path: DocumentPath, depth: int) -> PathConflictError:
    at = DocumentPath(path[:depth])
    return PathConflictError(f"{path} runs through {at}, which is no object and has no such element", path=str(path))


def _missing(path: DocumentPath) -> PathConflictError:
    return PathConflictError(f"there is nothing at {path.pointer() or '/'}", path=str(path))
