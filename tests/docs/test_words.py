"""The page of words names what is in the code."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "words.md").read_text("utf-8")
CODE = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "core" / "src").rglob("*.py")))
GIVEN_UP = [
    word for row in re.findall(r"^\| (.*) \| ", PAGE.partition("| not |")[2], re.MULTILINE) for word in row.split(", ")
]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z]\w+)` \|$", PAGE, re.MULTILINE))))
def test_class_behind_a_word_is_there(name: str) -> None:
    """
    Where the page sends its reader, there is a class of that name.
    """
    assert re.search(rf"^class {name}\b", CODE, re.MULTILINE)


def test_given_up_words_are_in_no_name() -> None:
    """
    What the page says otherwise now comes back in no name of the core, by whatever end: `defer`, `_deferred_at`.
    """
    tokens = tokenize.generate_tokens(io.StringIO(CODE).readline)
    names = {token.string for token in tokens if token.type == tokenize.NAME}
    parts = {name: set(name.casefold().split("_")) for name in names}

    assert len(GIVEN_UP) > 4
    assert {} == {name: word for word in GIVEN_UP for name, found in parts.items() if word in found}
