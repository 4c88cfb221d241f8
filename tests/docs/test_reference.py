"""The reference says all that the code does, and nothing else."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from cabochon import errors
from cabochon.contract import hookspecs

from .code_names import events, metrics
from .pages import ROOT

REFERENCE = ROOT / "docs/reference"


def script(name: str) -> ModuleType:
    """A script of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(f"cabochon_docs_{name}", ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script that writes the generated pages."""
    return script("generate")


def rows(page: Path, columns: int) -> list[tuple[str, ...]]:
    """The first columns of a page's tables, without their headings."""
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]
    return [tuple(cell.strip(" `") for cell in line.split("|")[1 : columns + 1]) for line in lines]


def test_generated_pages_are_fresh(generate: ModuleType) -> None:
    """
    Settings, commands and hooks are documented as they are: `make docs` writes the pages anew.
    """
    stale = [page.name for page, text in generate.pages().items() if page.read_text("utf-8") != text]

    assert [] == stale, "run: make docs"


def test_names_of_the_face_are_as_generated() -> None:
    """
    What `cabochon` exports follows from the `__all__` of the contract's modules: `make docs` writes it anew.
    """
    face = script("face")

    assert face.as_written() == face.FACE.read_text("utf-8"), "run: make docs"


def test_every_hook_has_a_section() -> None:
    """
    The guide has one section for each hook, under its name.
    """
    sections = re.findall(r"^### `(cabochon_\w+)`$", (ROOT / "docs/plugins.md").read_text("utf-8"), re.MULTILINE)

    assert sorted(name for name in hookspecs.__all__ if name.startswith("cabochon_")) == sorted(sections)


def test_every_error_is_explained_and_the_tree_is_the_code_s() -> None:
    """
    The page prints the tree of errors as the code has it, and explains each.
    """
    page = (REFERENCE / "errors.md").read_text("utf-8")
    tree = (errors.__doc__ or "").partition("CabochonError")[2].partition("\n\n")[0]

    assert f"```text\nCabochonError{tree}\n```" in page
    explained = {name for (name,) in rows(REFERENCE / "errors.md", 1)}
    assert {"CabochonError", *explained} == set(errors.__all__)


def test_every_event_is_documented() -> None:
    """
    Each event in the code is in the table with its level, and no other.
    """
    assert events() == {(event, level) for event, level in rows(REFERENCE / "events.md", 2)}


def test_every_metric_is_documented() -> None:
    """
    Each counter and gauge in the code is in the table, and no other.
    """
    assert metrics() == {(metric, kind) for metric, kind in rows(REFERENCE / "metrics.md", 2)}
