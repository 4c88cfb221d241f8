"""The documentation is followed to the letter: snippets run and show what they are said to, links lead somewhere."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from textwrap import dedent

import pytest

from ..engines import engines  # noqa: TID252 - the tests' own script
from .pages import ROOT, Snippet, commands, links, pages, slugs, snippets
from .reader import Reader, is_elsewhere, is_run

PAGES = pages()
ALL = [snippet for page in PAGES for snippet in snippets(page)]
FOLLOWED = [page for page in PAGES if any(is_run(snippet) for snippet in snippets(page))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.timeout(100)
@pytest.mark.parametrize("page", FOLLOWED, ids=name)
def test_page_can_be_followed(page: Path, tmp_path: Path) -> None:
    """
    Whoever follows a page, in an empty folder and from top to bottom, sees what the page shows.
    """
    for engine in engines():
        if f"POLICY_STORE_TYPE={engine.name.upper()}" in page.read_text("utf-8"):
            engine.or_skip()
    with Reader(tmp_path, page) as reader:
        for snippet in snippets(page):
            reader.follow(snippet)
        reader.finish(snippets(page)[-1])


@pytest.mark.parametrize("snippet", [one for one in ALL if one.language == "python"], ids=str)
def test_python_snippet_compiles(snippet: Snippet) -> None:
    """
    Python in the documentation is Python, run or not.
    """
    compile(dedent(snippet.text), str(snippet), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("snippet", [one for one in ALL if one.language == "console"], ids=str)
def test_console_snippet_is_run_or_says_why_not(snippet: Snippet) -> None:
    """
    A command of `cabochon` is run by a test, or the comment above it says why not.
    """
    shown = commands(snippet)
    assert shown, "a console snippet shows its commands after `$ `"

    assert is_run(snippet) or snippet.says.get("not run") or all(map(is_elsewhere, shown))


@pytest.mark.parametrize("snippet", [one for one in ALL if "part of" in one.says], ids=str)
def test_part_of_a_file_stands_in_it(snippet: Snippet) -> None:
    """
    What a page shows of a file of this repository is in that file, letter by letter.
    """
    assert snippet.text in (ROOT / snippet.says["part of"]).read_text("utf-8")


def test_snippets_say_what_they_are() -> None:
    """
    Commands stand in `console` snippets, where tests find them.
    """
    assert [] == [str(one) for one in ALL if one.language in {"bash", "sh", "shell", "py", ""}]


def test_make_targets_exist() -> None:
    """
    What the pages tell people to make can be made.
    """
    made = {
        word
        for snippet in ALL
        if snippet.language == "console"
        for command in commands(snippet)
        if command.program == "make"
        for word in command.text.partition('"')[0].split()[1:]
        if "=" not in word
    }
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {"demo", "test"} <= made
    assert made <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """
    A link inside the repository names a file that is there, and a heading that is in it.
    """
    lost: list[str] = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        where, _, anchor = link.partition("#")
        target = (page.parent / where).resolve() if where else page
        if not target.exists() or (anchor and anchor not in slugs(target)):
            lost.append(link)

    assert [] == lost


@pytest.mark.parametrize("page", [page for page in PAGES if page.is_relative_to(ROOT / "docs")], ids=name)
def test_page_of_the_docs_can_be_reached(page: Path) -> None:
    """
    Every page is linked from the index, or from the index of its folder.
    """
    indexes = [index for index in (ROOT / "docs/README.md", page.parent / "README.md") if index.exists()]
    linked = {(index.parent / link.partition("#")[0]).resolve() for index in indexes for link in links(index)}

    assert page.name == "README.md" or page in linked


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page_has_one_sentence_on_a_line(page: Path) -> None:
    """
    A sentence has its own line, so that a change shows as the sentence that it changes.
    """
    text = page.read_text("utf-8")
    prose = re.sub(r"^ *```.*?^ *```\s*$|<!--.*?-->|`[^`\n]*`", "x", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.lstrip().startswith(("|", "#", "-", "*"))]

    assert [] == [line for line in lines if re.search(r"[a-z)x]\. [A-Z]", line)]


def test_reader_is_documented() -> None:
    """
    The comments that the pages use are explained in one place.
    """
    text = inspect.getsource(inspect.getmodule(Snippet) or pytest)
    used = {said for snippet in ALL for said in snippet.says}

    assert {said for said in used if f"<!-- {said}" not in text} == set()
