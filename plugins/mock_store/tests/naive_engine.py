"""A document store so simple that it is plainly right: every step copies the whole tree."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeAlias, TypeGuard

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import decode
from cabochon.transactions.changes import Change, DeleteData, PatchData, SetData

RESERVED = "system"
Json: TypeAlias = Any


class RefusedError(Exception):
    """The naive engine refuses a change."""


def after(tree: dict[str, Json], changes: list[Change]) -> dict[str, Json]:
    """The tree after all of the changes, a new one."""
    for change in changes:
        tree = after_one(deepcopy(tree), change)
    return tree


def after_one(tree: dict[str, Json], change: Change) -> dict[str, Json]:
    match change:
        case SetData(path, value):
            return written(tree, path, decode(value))
        case DeleteData(path):
            if not path:
                return written(tree, (), {})
            return removed(tree, path) if exists(tree, path) else tree
        case PatchData(path, operations):
            for operation in operations:
                tree = patched(tree, path, operation)
            return tree
        case _:
            raise AssertionError(change)


def is_object(node: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(node, dict)


def is_array(node: Json) -> TypeGuard[list[Json]]:
    return isinstance(node, list)


def steps(node: Json, segment: str) -> list[Any]:
    """The keys under which a container has `segment`: one or none."""
    if is_object(node):
        return [segment] if segment in node else []
    if is_array(node):
        return [index for index in range(len(node)) if str(index) == segment]
    return []


def exists(node: Json, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    return any(exists(node[key], path[1:]) for key in steps(node, path[0]))


def written(node: Json, path: tuple[str, ...], value: Json, *, depth: int = 0) -> Json:
    if not path:
        return rooted(node, value) if depth == 0 else value
    if is_object(node):
        return node | {path[0]: written(node.get(path[0], {}), path[1:], value, depth=depth + 1)}
    keys = steps(node, path[0])
    if not keys:
        raise RefusedError
    return [
        written(child, path[1:], value, depth=depth + 1) if index == keys[0] else child
        for index, child in enumerate(node)
    ]


def rooted(old: dict[str, Json], new: Json) -> dict[str, Json]:
    if not isinstance(new, dict) or RESERVED in new:
        raise RefusedError
    return {key: value for key, value in old.items() if key == RESERVED} | new


def removed(node: Json, path: tuple[str, ...]) -> Json:
    (key,) = steps(node, path[0])
    if len(path) > 1:
        node[key] = removed(node[key], path[1:])
    else:
        del node[key]
    return node


def inserted(node: Json, path: tuple[str, ...], value: Json) -> Json:
    step, *below = path
    if below:
        for key in steps(node, step):
            node[key] = inserted(node[key], tuple(below), value)
            return node
    elif is_object(node):
        return node | {step: value}
    elif is_array(node):
        places = {"-": len(node)} | {str(index): index for index in range(len(node) + 1)}
        if step in places:
            return [*node[: places[step]], value, *node[places[step] :]]
    raise RefusedError


def patched(tree: dict[str, Json], document: tuple[str, ...], operation: PatchOperation) -> dict[str, Json]:
    path = (*document, *operation.path)
    value = None if operation.value is None else decode(operation.value)
    if operation.op == "add" and operation.path:
        return inserted(tree, path, value)
    if not exists(tree, path) or operation.op not in {"add", "remove", "replace"}:
        raise RefusedError
    if operation.op != "remove":
        return written(tree, path, value)
    if not path:
        raise RefusedError
    return removed(tree, path)
