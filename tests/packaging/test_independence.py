"""Who may know whom: the core no plugin, no plugin another, and the core no engine by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "src" / "cabochon"
PLUGINS = {path.parent.name: path.parent / "src" for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))}
PACKAGES = {name: f"cabochon_{name}" for name in PLUGINS}

# Names of the wire that the peer chose, and OPA as the author of rules that every document store is held to.
OF_THE_WIRE = {"RegoModule", "rego"}


def _imports(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                yield file, node.module.partition(".")[0]


def test_core_imports_no_plugin() -> None:
    """
    Nothing below core/src knows a plugin's package.
    """
    assert [] == [(file.name, name) for file, name in _imports(CORE) if name in PACKAGES.values()]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_imports_no_other_plugin(plugin: str) -> None:
    """
    A plugin imports the core and its libraries, never another plugin.
    """
    others = {package for name, package in PACKAGES.items() if name != plugin}

    assert [] == [(file.name, name) for file, name in _imports(PLUGINS[plugin]) if name in others]


def _identifiers_and_strings(tree: ast.AST) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Constant(value=str(text)) if id(node) not in docstrings and "\n" not in text:
                yield text
            case _:
                pass


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_core_names_no_engine_and_no_plugin(file: Path) -> None:
    """
    No identifier or text in the core's code says OPA, mock, or the name of any plugin; documentation may.
    """
    forbidden = re.compile(
        r"(?<![A-Za-z])(opa|mock|openfga|spicedb|cedar|cerbos)(?![A-Za-z])|http_?callback", re.IGNORECASE
    )
    tree = ast.parse(file.read_text("utf-8"))

    assert [] == [text for text in _identifiers_and_strings(tree) if forbidden.search(text) and text not in OF_THE_WIRE]
