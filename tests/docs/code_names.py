"""Names that the code gives to the outside: events, metrics, settings, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .pages import ROOT

__all__ = ["events", "metrics"]

_LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


def _sources() -> Iterator[Path]:
    for folder in (ROOT / "core/src", *sorted(ROOT.glob("plugins/*/src"))):
        yield from sorted(folder.rglob("*.py"))


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call of a method with a text as its first argument: the object's name, the method, the call."""
    for source in _sources():
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=owner, attr=method), args=[ast.Constant(value=str()), *_]):
                    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                    yield str(name), method, node
                case _:
                    pass


def _text(call: ast.Call) -> str:
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def events() -> set[tuple[str, str]]:
    """Every event with the level at which it is logged."""
    return {(_text(call), method) for name, method, call in _calls() if name == "log" and method in _LEVELS}


def metrics() -> set[tuple[str, str]]:
    """Every metric with what it is, "counter", "gauge" or "duration"."""
    kinds = {"count": "counter", "gauge": "gauge", "observe": "duration"}
    found = (
        (_text(call), kinds[method])
        for name, method, call in _calls()
        if name.lstrip("_") == "metrics" and method in kinds
    )
    return set(found)
