"""The map of the rooms names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
CORE = ROOT / "core" / "src" / "cabochon"
NAMED = sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/[a-z_]+|/))`", PAGE.read_text("utf-8"))))


@pytest.mark.parametrize("path", NAMED)
def test_file_on_the_map_is_there(path: str) -> None:
    """
    Every file and folder that the map names exists, in the core or from the root.
    """
    assert (CORE / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize(
    "room", sorted(path.parent.name for path in CORE.glob("**/__init__.py") if path.parent != CORE)
)
def test_every_room_is_on_the_map(room: str) -> None:
    """
    Every folder of the core is on the map.
    """
    assert re.search(rf"\b{room}\b", PAGE.read_text("utf-8"))
