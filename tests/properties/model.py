"""What the engine should hold, worked out in the plainest way: one write after the other on a copy of everything."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeAlias

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import decode

__all__ = ["RefusedError", "delete", "patched", "pruned", "put"]

Tree: TypeAlias = Any
"""A document: what `json_values.decode` returns."""


class RefusedError(Exception):
    """The write can't be done."""


def put(tree: Tree, path: tuple[str, ...], value: Tree) -> Tree:
    """Return the tree after a PUT: missing parents are created, what is there is replaced."""
    return _put(copy.deepcopy(tree), path, value)


def _put(node: Tree, path: tuple[str, ...], value: Tree) -> Tree:
    if not path:
        return value
    key, *below = path
    if node.__class__ is list:
        place = _place(node, key)
        node[place] = _put(node[place], tuple(below), value)
    elif node.__class__ is dict:
        node[key] = _put(node.get(key, {}), tuple(below), value)
    else:
        raise RefusedError(f"{key} lies below a scalar")
    return node


def delete(tree: Tree, path: tuple[str, ...]) -> Tree:
    """Return the tree without what is at `path`."""
    try:
        return _operate(copy.deepcopy(tree), "remove", path, None)
    except RefusedError:
        return tree


def patched(tree: Tree, path: tuple[str, ...], operations: Iterable[PatchOperation]) -> Tree:
    """Return the tree after a JSON patch of the document at `path`."""
    after: Tree = copy.deepcopy(tree)
    operations = tuple(operations)
    # What begins with `add` at the document itself needs none before, unless it is done away with again further on.
    makes_it = all(one.path and (one.source is None or one.source) for one in operations[1:])
    for number, operation in enumerate(operations):
        where = path + operation.path
        value = None if operation.value is None else decode(operation.value)
        source = None if operation.source is None else path + operation.source
        if operation.op in {"move", "copy"} and source is not None:
            value = copy.deepcopy(_get(after, source))
            if operation.op == "move":
                if source != where and where[: len(source)] == source:
                    raise RefusedError("into itself")
                after = _operate(after, "remove", source, None)
            after = _operate(after, "add", where, value)
        elif operation.op == "test":
            if _get(after, where) != value:
                raise RefusedError("another value")
        elif number == 0 and operation.op == "add" and not operation.path and makes_it:
            after = _put(after, where, value)
        else:
            # An empty pointer names the document itself, which `add` replaces: it has to be there.
            op = "replace" if operation.op == "add" and not operation.path else operation.op
            after = _operate(after, op, where, value)
    return after


def _operate(tree: Tree, op: str, path: tuple[str, ...], value: Tree) -> Tree:
    if not path:
        if op == "remove":
            raise RefusedError("the root stays")
        return value
    parent, key = _get(tree, path[:-1]), path[-1]
    if parent.__class__ is list:
        if op == "add":
            parent.insert(len(parent) if key == "-" else _place([*parent, None], key), value)
        elif op == "replace":
            parent[_place(parent, key)] = value
        else:
            del parent[_place(parent, key)]
    elif parent.__class__ is dict:
        if op != "add" and key not in parent:
            raise RefusedError(f"no {key}")
        if op == "remove":
            del parent[key]
        else:
            parent[key] = value
    else:
        raise RefusedError("no parent")
    return tree


def _get(node: Tree, path: tuple[str, ...]) -> Tree:
    for key in path:
        if node.__class__ is list:
            node = node[_place(node, key)]
        elif node.__class__ is dict and key in node:
            node = node[key]
        else:
            raise RefusedError(f"nothing at {key}")
    return node


def _place(node: list[Tree], key: str) -> int:
    if not key.isdigit() or str(int(key)) != key or int(key) >= len(node):
        raise RefusedError(f"no element {key}")
    return int(key)


def pruned(value: Tree) -> Tree:
    """Leave out members that are empty objects: an engine that was filled again has no empty parents."""
    if value.__class__ is not dict:
        return value
    members = {key: pruned(member) for key, member in value.items()}
    return {key: member for key, member in members.items() if member != {}}
