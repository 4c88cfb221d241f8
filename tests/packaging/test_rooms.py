"""The rooms of the core: imports run down only, and plugins use what is theirs to use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "src" / "cabochon"

# From the ground up: a room may import itself and what stands before it. `sync` is one room to the others.
FLOORS = (
    "errors",
    "urls",
    "backoff",
    "error_groups",
    "schemas",
    "documents",
    "settings",
    "logs",
    "transactions",
    "contract",
    "kit",
    "plugins",
    "sync.bell",
    "sync.rules",
    "sync.desired",
    "sync.outcome",
    "sync.engine",
    "sync.backup",
    "sync.intake",
    "sync.assembly",
    "sync.pipeline",
    "testing",
    "agent",
    "cli",
)
# What docs/plugins.md promises to keep. Everything else may change at any time.
PUBLIC = (
    "errors",
    "urls",
    "backoff",
    "error_groups",
    "schemas",
    "documents",
    "settings",
    "logs",
    "transactions",
    "contract",
    "kit",
    "testing",
    "agent",
)
# The face, which imports nothing before it is used; how to run it; the one door behind which the sync is.
OUTSIDE = {"", "__main__", "sync"}

FILES = sorted(CORE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in CORE.rglob("__init__.py"))


def module_of(file: Path) -> str:
    """What a file is called inside the core: "" for the face."""
    parts = file.relative_to(CORE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room that a module of the core is in, the smallest; None if it is in none."""
    return next((one for one in sorted(FLOORS, key=len, reverse=True) if f"{module}.".startswith(f"{one}.")), None)


def imported(file: Path) -> Iterator[str]:
    """Every module of the core that a file names in an import, for type checkers or for real."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (_inside(alias.name) for alias in node.names if alias.name.partition(".")[0] == "cabochon")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "cabochon":
            folder = CORE.joinpath(*node.module.split(".")[1:])
            for alias in node.names:
                is_module = (folder / alias.name).is_dir() or (folder / f"{alias.name}.py").exists()
                yield _inside(f"{node.module}.{alias.name}" if is_module else node.module)


def _inside(module: str) -> str:
    return module.partition(".")[2]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CORE)))
def test_a_room_imports_only_what_stands_below_it(file: Path) -> None:
    """
    Whoever reads a room needs to know nothing of those above it. Every module is in a room, and imports by full name.
    """
    module = module_of(file)
    here = room_of(module)
    if here is None:
        assert module in OUTSIDE, f"{module} is in no room: put it into one, or give it a floor"
        return

    rooms = {one: room_of(one) for one in imported(file) if one not in OUTSIDE}

    above = {one for one, room in rooms.items() if room is None or FLOORS.index(room) > FLOORS.index(here)}
    relative = [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert (set[str](), list[int]()) == (above, relative)


def test_every_floor_is_there() -> None:
    """
    No floor is left of a room that has moved or gone.
    """
    assert set(FLOORS) == {room_of(module_of(file)) for file in FILES} - {None}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda folder: str(folder.relative_to(CORE)))
def test_a_room_says_what_it_is(package: Path) -> None:
    """
    The docstring of its `__init__` tells what may be in it.
    """
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8")))


@pytest.mark.parametrize(
    "file",
    sorted(ROOT.glob("plugins/*/src/**/*.py")),
    ids=lambda file: "/".join(file.parts[file.parts.index("src") + 1 :]),
)
def test_plugins_use_what_is_public(file: Path) -> None:
    """
    Our own plugins come in through the same door as anyone's.
    """
    assert set() == {one for one in imported(file) if one and room_of(one) not in PUBLIC}
