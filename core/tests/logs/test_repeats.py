"""A million lines of one kind are a hundred and a count."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from cabochon.logs.repeats import INTERVAL_S, Repeats


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _written(repeats: Repeats, method: str, event: str) -> bool:
    given: dict[str, Any] = {"event": event}
    try:
        return repeats(None, method, given) is given
    except structlog.DropEvent:
        return False


def test_more_lines_of_a_kind_than_wanted_are_counted_and_said_once() -> None:
    """
    With the next line after the interval, of whatever kind; then they are written again.
    """
    clock = _Clock()
    repeats = Repeats(3, clock)
    assert 3 == sum(_written(repeats, "warning", "message.malformed") for _ in range(1_000))
    assert _written(repeats, "error", "another")

    clock.now = INTERVAL_S
    with capture_logs() as said:
        assert _written(repeats, "info", "anything")
        assert _written(repeats, "warning", "message.malformed")
    assert [{"event": "log.repeated", "kind": "message.malformed", "left_out": 997, "log_level": "warning"}] == said


def test_what_nobody_has_to_see_to_is_not_counted() -> None:
    """
    A line for each update that lands is what was asked for.
    """
    repeats = Repeats(3, _Clock())
    assert 100 == sum(_written(repeats, "info", "transaction.ended") for _ in range(100))


def test_libraries_are_counted_by_the_place_in_their_code() -> None:
    """
    Whatever their lines say.
    """
    repeats = Repeats(2, _Clock())
    records = [logging.LogRecord("asyncio", logging.ERROR, "x.py", 7, f"{n}", (), None) for n in range(10)]
    assert 2 == sum(map(repeats.filter, records))
    assert repeats.filter(logging.LogRecord("asyncio", logging.ERROR, "x.py", 8, "", (), None))


@pytest.mark.parametrize("kinds", [100_000])
def test_made_up_kinds_do_not_grow_what_is_kept(kinds: int) -> None:
    """
    Beyond a thousand they count as one.
    """
    repeats = Repeats(2, _Clock())
    assert 1_002 == sum(_written(repeats, "warning", str(kind)) for kind in range(kinds))
