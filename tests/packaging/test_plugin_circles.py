"""Inside a plugin no two modules import each other, however far around."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports(package: Path) -> dict[str, set[str]]:
    """Which modules of a package each of them imports, for type checkers or for real; the package's own face aside."""
    files = {".".join(file.relative_to(package.parent).with_suffix("").parts): file for file in package.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): file for name, file in files.items()}
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = (f"{node.module}.{alias.name}" for alias in node.names)
                found[name] |= {one if one in modules else node.module for one in named}
    del found[package.name]
    return {name: (of - {name}) & found.keys() for name, of in found.items()}


@pytest.mark.parametrize("package", sorted(ROOT.glob("plugins/*/src/cabochon_*")), ids=lambda package: package.name)
def test_plugin_has_no_import_circle(package: Path) -> None:
    """
    Each module of a plugin can be read after those that it stands on.
    """
    try:
        order = [*TopologicalSorter(imports(package)).static_order()]
    except CycleError as err:
        pytest.fail(" -> ".join(err.args[1]))

    assert order
