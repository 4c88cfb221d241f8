"""Programs of the system that the example wants."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["program_or_skip"]


def program_or_skip(name: str) -> str:
    """Find a program on PATH: without it the test skips, and fails where `CI` is set."""
    found = shutil.which(name)
    if found is None:
        why = f"no {name} on PATH"
        if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
            pytest.fail(why)
        pytest.skip(why)
    return found
