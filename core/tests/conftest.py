"""What the core's tests share."""

from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from cabochon import Plugins

DATA = Path(__file__).parent / "data"


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Put a folder on `sys.path` for the time of the test."""

    def prepend(folder: Path) -> None:
        monkeypatch.syspath_prepend(str(folder))  # pyright: ignore[reportUnknownMemberType]

    return prepend


@pytest.fixture
def discover(on_path: Callable[[Path], None]) -> Callable[..., Plugins]:
    """Load the distributions of these folders of `data`, and no others."""

    def load(*folders: str, **options: Any) -> Plugins:
        for folder in folders:
            on_path(DATA / folder)
        found = [
            entry_point
            for folder in folders
            for distribution in distributions(path=[str(DATA / folder)])
            for entry_point in distribution.entry_points.select(group="cabochon")
        ]
        return Plugins.load(found=found, **options)

    return load
