"""The core's settings are read where a sync is put together, and nowhere inside it."""

from __future__ import annotations

import ast
from pathlib import Path

import cabochon

SYNC = Path(cabochon.__file__).parent / "sync"
EDGE = {"assembly.py", "pipeline.py"}
"""Builds the parts, and hands the settings on to what builds them."""


def _uses(module: Path) -> list[str]:
    """Return the names of what takes or reads `CoreSettings` in a module, apart from an option class's own `of`."""
    uses: list[str] = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "of":
            named = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            if "CoreSettings" in named:
                uses.append(node.name)
    return uses


def test_settings_stay_at_the_edge() -> None:
    """
    Inside a sync there are option objects, each made of the settings by its own `of`.
    """
    modules = [module for module in sorted(SYNC.rglob("*.py")) if module.name not in EDGE]
    deep = {str(module.relative_to(SYNC)): uses for module in modules if (uses := _uses(module))}
    made = [module for module in modules if "import CoreSettings" in module.read_text()]

    assert {} == deep
    assert made
