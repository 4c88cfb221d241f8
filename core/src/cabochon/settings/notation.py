"""How people write update callbacks and their config: JSON, Python literals, names with commas."""

from __future__ import annotations

import ast
import json
from typing import Any, cast

import msgspec

from cabochon.schemas import UpdateCallback

__all__ = ["CALLBACK_CONFIG", "callback_config_of", "callbacks_of"]

CALLBACK_CONFIG: dict[str, Any] = {
    "method": "post",
    "headers": {"content-type": "application/json"},
    "process_data": False,
}


class _JsonNames(ast.NodeTransformer):
    """Let `true`, `false` and `null` stand in a Python literal, as people mix them."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        names = {"true": True, "false": False, "null": None}
        return ast.copy_location(ast.Constant(names[node.id]), node) if node.id in names else node


def _literal(text: str) -> object:
    """Read JSON, or a Python literal with tuples as the peer's page shows; nothing in it is ever executed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_JsonNames().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(
            'should be {"callbacks": [...]} or [...] with URLs and [URL, config] pairs inside, '
            "or URLs separated by commas"
        ) from None


def callbacks_of(value: object) -> object:
    """Read every notation of `OPAL_DEFAULT_UPDATE_CALLBACKS`."""
    if isinstance(value, str):
        structured = value.lstrip().startswith(("{", "[", "("))
        value = _literal(value) if structured else [url.strip() for url in value.split(",") if url.strip()]
    if isinstance(value, UpdateCallback):
        return value
    if isinstance(value, list | tuple):
        value = {"callbacks": _targets(list(cast("list[object]", value)))}
    try:
        return msgspec.convert(value, UpdateCallback)
    except msgspec.ValidationError as err:
        raise ValueError(f"should list URLs and [URL, config] pairs: {err}") from None


def _targets(value: list[object]) -> list[object]:
    """Take `("url", {...})`, one pair without the list around it, for a list of that one pair."""
    match value:
        case [str(), dict()]:
            return [value]
        case _:
            return value


def callback_config_of(value: object) -> object:
    """Read `OPAL_DEFAULT_UPDATE_CALLBACK_CONFIG`; what it leaves out is as in the default."""
    if isinstance(value, str):
        value = _literal_object(value)
    return {**CALLBACK_CONFIG, **cast("dict[str, Any]", value)} if isinstance(value, dict) else value


def _literal_object(text: str) -> object:
    try:
        return _literal(text)
    except ValueError:
        raise ValueError('should be a JSON object, such as {"method": "post", "headers": {}}') from None
