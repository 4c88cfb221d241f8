"""Read the Markdown pages of the documentation: headings, links, and snippets with what is said about them.

A comment right above a snippet says what a test does with it, visibly in the source of the page:

    <!-- file: NAME -->             it is a file: written into the page's folder, not run
    <!-- in the background -->      its command goes on running; the page waits for the output shown below it
    <!-- output in the background -->  what that command has written meanwhile
    <!-- exits with N -->           its last command does not exit with 0
    <!-- part of: FILE -->          it stands so in a file of this repository
    <!-- not run: WHY -->           it is only compiled (Python), or only looked at
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "Command", "Snippet", "commands", "links", "pages", "slugs", "snippets"]

ROOT = Path(__file__).parents[2]
_GLOBS = ("*.md", "core/*.md", "plugins/*/*.md", "examples/**/*.md", "benchmarks/*.md", "docs/**/*.md", "tests/*.md")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\s*$")
_COMMENT = re.compile(r"^\s*<!-- (?P<what>file|part of|in the background|output in the background|exits with|not run)"
                      r"(?:: | |)(?P<value>.*?) ?-->\s*$")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block: where it stands, what language it is in, what the comments above it say."""

    page: Path
    line: int
    language: str
    text: str
    says: dict[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """Name it as test ids and failures do."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console snippet, and the output that the page shows for it."""

    text: str
    output: list[str]

    @property
    def program(self) -> str:
        """The first word that is no assignment."""
        words = self.text.split()
        return next((word for word in words if "=" not in word), "")


@cache
def pages() -> tuple[Path, ...]:
    """Every page, sorted."""
    return tuple(sorted({page for pattern in _GLOBS for page in ROOT.glob(pattern)}))


@cache
def snippets(page: Path) -> tuple[Snippet, ...]:
    """The snippets of a page, in order."""
    return tuple(_snippets(page))


def _snippets(page: Path) -> Iterator[Snippet]:
    says: dict[str, str] = {}
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), start=1))
    for number, line in lines:
        comment = _COMMENT.match(line)
        fence = _FENCE.match(line)
        if comment is not None:
            says[comment["what"]] = comment["value"]
        elif fence is not None:
            indent = len(fence["indent"])
            inside: list[str] = []
            for _, text in lines:
                if text.strip() == "```":
                    break
                inside.append(text[indent:])
            yield Snippet(page, number, fence["language"], "\n".join(inside) + "\n", says)
            says = {}
        elif line.strip():
            says = {}


def commands(snippet: Snippet) -> list[Command]:
    """The commands of a console snippet: lines that start with `$ `, which a backslash at the end continues."""
    found: list[Command] = []
    going_on = False
    for line in snippet.text.splitlines():
        if going_on:
            found[-1] = Command(f"{found[-1].text}\n{line}", [])
        elif line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif found:
            found[-1].output.append(line)
        going_on = line.endswith("\\") and not found[-1].output if found else False
    return found


def _prose(page: Path) -> str:
    text = re.sub(r"^ *```.*?^ *```\s*$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", " ", code[0]), text)


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    return re.findall(r"\]\(([^)\s]+)\)", _prose(page))


@cache
def slugs(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    text = re.sub(r"^ *```.*?^ *```\s*$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(s for n in range(100) if (s := f"{slug}-{n}" if n else slug) not in found))
    return frozenset(found)
