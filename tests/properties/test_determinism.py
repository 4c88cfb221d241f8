"""What hypothesis tries is decided by the code alone, so that a run that passed here passes everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def _tried() -> list[Any]:
    tried: list[Any] = []

    @settings(max_examples=200, derandomize=True, database=None)
    @given(st.integers(), st.text())
    def search(number: int, word: str) -> None:
        tried.append((number, word))

    search()
    return tried


def test_search_is_the_same_whatever_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of ours that another test imports first adds nothing to what is tried."""
    before = _tried()
    source = tmp_path / "imported_on_the_way.py"
    source.write_text(f"NUMBERS = {list(range(10_000, 10_400))}\nWORDS = {[f'word-{n}' for n in range(400)]}\n")
    module = ModuleType(source.stem)
    module.__file__ = str(source)
    monkeypatch.setitem(sys.modules, source.stem, module)
    assert before == _tried()
