"""The core's settings are read where a sync is put together, and nowhere inside it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cabochon

SYNC = Path(cabochon.__file__).parent / "sync"
EDGE = {"assembly.py", "pipeline.py"}
"""Builds the parts, and hands the settings on to what builds them."""
MODULES = [module for module in sorted(SYNC.rglob("*.py")) if module.name not in EDGE]


def _reads(tree: ast.AST) -> bool:
    """Tell whether anything in `tree` is about the core's settings, apart from an option class's own `of`."""
    if isinstance(tree, ast.ImportFrom):
        return tree.module == "cabochon.settings.core" and [alias.name for alias in tree.names] != ["CoreSettings"]
    if isinstance(tree, ast.Import):
        return any(alias.name.startswith("cabochon.settings") for alias in tree.names)
    if isinstance(tree, ast.FunctionDef) and tree.name == "of":
        return False
    if isinstance(tree, ast.Name) and tree.id == "CoreSettings":
        return True
    return any(_reads(child) for child in ast.iter_child_nodes(tree))


@pytest.mark.parametrize("module", [pytest.param(module, id=str(module.relative_to(SYNC))) for module in MODULES])
def test_settings_stay_at_the_edge(module: Path) -> None:
    """
    Inside a sync there are option objects, each made of the settings by its own `of`.
    """
    assert not _reads(ast.parse(module.read_text()))


def test_options_are_made_of_settings() -> None:
    """
    The rule above has something to say: there are modules whose options are made of the settings.
    """
    assert [module for module in MODULES if "import CoreSettings" in module.read_text()]
