"""The page of words names what is in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "words.md").read_text("utf-8")
CODE = "\n".join(file.read_text("utf-8") for file in (ROOT / "core" / "src").rglob("*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z]\w+)` \|$", PAGE, re.MULTILINE))))
def test_class_behind_a_word_is_there(name: str) -> None:
    """
    Where the page sends its reader, there is a class of that name.
    """
    assert re.search(rf"^class {name}\b", CODE, re.MULTILINE)
