"""A name stands for one thing: no class is called as another one that a reader could take it for."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from .test_rooms import CORE, FILES, PUBLIC, ROOT, module_of, room_of

PLUGINS = sorted(ROOT.glob("plugins/*/src/cabochon_*"))


def classes(files: Iterable[Path]) -> dict[str, list[str]]:
    """Where the classes of each name are, from the package on."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        where = "/".join(file.parts[file.parts.index("src") + 1 :])
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(where)
    return found


def public(name: str) -> bool:
    """Whether a name is more than its module's own."""
    return not name.startswith("_")


def test_core_has_each_class_once() -> None:
    """
    Who reads a name anywhere in the core knows which class is meant, private ones included.
    """
    assert {} == {name: where for name, where in classes(FILES).items() if len(where) > 1}


@pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.name)
def test_plugin_has_each_class_once_and_none_that_it_could_import(package: Path) -> None:
    """
    Beside a plugin's class there is none of its name, neither in the plugin nor in the core's public rooms.
    """
    shared = {
        name: where
        for name, where in classes(file for file in FILES if room_of(module_of(file)) in PUBLIC).items()
        if public(name) and not any("/_" in one for one in where)
    }
    own = {name: where for name, where in classes(sorted(package.rglob("*.py"))).items() if public(name)}

    twice = {name: where + shared.get(name, []) for name, where in own.items()}

    assert {} == {name: where for name, where in twice.items() if len(where) > 1}


def test_files_are_found() -> None:
    """
    The tests above look at something.
    """
    assert "PluginOffer" in classes(CORE.rglob("*.py"))
    assert PLUGINS
