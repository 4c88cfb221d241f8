"""The time that the machine leaves to a test."""

from __future__ import annotations

import time

from cabochon.testing.own_time import own_time


def test_sleep_and_work_are_own_time() -> None:
    """It passes while nothing is to be done, and while this thread has a processor."""
    began, began_own, worked = time.monotonic(), own_time(), time.thread_time()
    time.sleep(0.05)
    while time.thread_time() - worked < 0.05:
        pass
    passed, passed_own = time.monotonic() - began, own_time() - began_own

    # The scheduler's clock has ticks of its own.
    assert 0.09 < passed_own < passed + 0.01
