"""What the tests of the sync's parts share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

Cost = Callable[[Callable[[], object]], int]


@pytest.fixture
def cost() -> Cost:
    """Give what counts the calls of functions that some work takes, which no other work on the machine changes."""
    return _calls


def _calls(work: Callable[[], object]) -> int:
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
