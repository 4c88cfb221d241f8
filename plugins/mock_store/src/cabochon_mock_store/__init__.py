"""An in-memory policy store for offline tests, and the pytest fixtures that go with it.

The names below are imported when they are first used: pytest loads this package in every run, and most don't need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabochon_mock_store.engine import Commit, MockEngine
    from cabochon_mock_store.store import MockPolicyStore, mock_store_type

__all__ = ["Commit", "MockEngine", "MockPolicyStore", "mock_store_type"]
__version__ = "0.1.0"

_HOMES = {"Commit": "engine", "MockEngine": "engine", "MockPolicyStore": "store", "mock_store_type": "store"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
