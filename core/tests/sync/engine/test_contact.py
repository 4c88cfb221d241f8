"""How the contact to an engine stands after each answer, and after each lack of one."""

from __future__ import annotations

from random import Random

import pytest
from structlog.testing import capture_logs

from cabochon.contract.metrics import Metrics
from cabochon.sync.engine.contact import Away, Contact, Here, NotMet

pytestmark = pytest.mark.anyio


def contact(metrics: Metrics | None = None) -> Contact:
    return Contact(Random(1), metrics or Metrics())  # noqa: S311 - jitter


async def test_engine_that_never_came_is_said_once() -> None:
    """
    However often it is asked, one line says that it is not there, and none that it was lost.
    """
    one = contact()
    assert isinstance(one.state, NotMet)
    with capture_logs() as said:
        one.lost(TimeoutError(), asked_at=0.0)
        one.lost(OSError("refused"), asked_at=0.0)

    assert [("engine.not_there", "TimeoutError")] == [(line["event"], line["error"]) for line in said]
    assert "refused" in str(one.why_away)


async def test_engine_that_goes_away_is_said_and_counted_each_time() -> None:
    """
    Lost, back, and lost again: two lines and a count of two.
    """
    metrics = Metrics()
    one = contact(metrics)
    one.filled(anew=True)
    with capture_logs() as said:
        for _ in range(2):
            one.lost(OSError("gone"))
            assert one.away
            one.filled(anew=False)

    assert ["engine.lost", "engine.filled"] * 2 == [line["event"] for line in said]
    assert (2, Here) == (metrics.snapshot()["engine.lost"], type(one.state))


async def test_pause_grows_with_what_was_asked_in_vain_and_starts_small_again() -> None:
    """
    Work that fails does not count as a try; each question in vain does, from when it was asked.
    """
    one = contact()
    one.filled(anew=True)
    one.lost(OSError("gone"))
    tries: list[int] = []
    pauses: list[float] = []
    for _ in range(4):
        one.lost(OSError("gone"), asked_at=1000.0)
        assert isinstance(one.state, Away)
        tries.append(one.state.tries)
        pauses.append(one.state.next_try_at - 1000.0)
    one.filled(anew=False)
    one.lost(OSError("gone"))

    assert isinstance(one.state, Away)
    assert ([1, 2, 3, 4], 0) == (tries, one.state.tries)
    assert all(step / 2 <= pause <= step for step, pause in zip((0.1, 0.2, 0.4, 0.8), pauses, strict=True))
    assert 0 < one.next_try_in_s() <= 0.1
