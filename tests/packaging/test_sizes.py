"""Nothing is larger than one can read at a sitting, unless a line beside it says why: `# size: reason`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])
MARK = "# size: "

FILE_LINES = 400
FUNCTION_LINES = 60
METHODS = 25
ATTRIBUTES = 15


class Large(NamedTuple):
    """What is over a bound, and the lines of its file (from 1) of which one may give the reason."""

    what: str
    reasons: range


def large_in(text: str) -> Iterator[Large]:
    """What of a module is over a bound."""
    tree = ast.parse(text)
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        first = next((node.lineno for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)), lines)
        yield Large(f"{lines} lines", range(1, first))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            functions = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            if len(functions) > METHODS:
                yield Large(f"class {node.name}: {len(functions)} methods", beside(node))
            count = len(attributes(node, functions))
            if count > ATTRIBUTES:
                yield Large(f"class {node.name}: {count} attributes", beside(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES:
                yield Large(f"{node.name}: {count} lines", beside(node))


def beside(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    """The lines of its signature, with the one above its name or its first decorator."""
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return range(first - 1, node.body[0].lineno)


def attributes(node: ast.ClassDef, functions: list[ast.FunctionDef | ast.AsyncFunctionDef]) -> set[str]:
    """What objects of a class hold: its fields, and what its methods set of themselves."""
    fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    return fields | {
        inner.attr
        for function in functions
        for inner in ast.walk(function)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.ctx, ast.Store)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "self"
    }


def name_of(file: Path) -> str:
    """What a file is called in this test: from the package on."""
    return "/".join(file.parts[file.parts.index("src") + 1 :])


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_what_is_large_says_why(file: Path) -> None:
    """
    At most 400 lines in a file, 60 in a function; 25 methods and 15 attributes in a class. No reason without need.
    """
    text = file.read_text("utf-8")
    given = {number for number, line in enumerate(text.splitlines(), start=1) if MARK in line}
    large = [*large_in(text)]

    assert [] == [one.what for one in large if given.isdisjoint(one.reasons)]
    assert set[int]() == given.difference(*(one.reasons for one in large))


CLASS = "class A:{reason}\n" + "".join(f"    a{number}: int\n" for number in range(16))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x = 1\n" * 400, []),
        ("x = 1\n" * 401, ["401 lines"]),
        ("def f():\n" + "    x = 1\n" * 59, []),
        ("def f():\n" + "    x = 1\n" * 60, ["f: 61 lines"]),
        ("class A:\n" + "".join(f"    def m{number}(self): pass\n" for number in range(26)), ["class A: 26 methods"]),
        (CLASS.format(reason=""), ["class A: 16 attributes"]),
        ("class A:\n    def m(self):\n" + "".join(f"        self.a{one} = 1\n" for one in range(15)), []),
        (
            "class A:\n    def m(self):\n" + "".join(f"        self.a{one} = 1\n" for one in range(16)),
            ["class A: 16 attributes"],
        ),
    ],
)
def test_bounds_are_as_the_rule_has_them(text: str, what: list[str]) -> None:
    """
    The last that fits, and the first that does not.
    """
    assert what == [one.what for one in large_in(text)]
