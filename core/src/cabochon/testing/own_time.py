"""The time that the machine leaves to a test: what is measured in it is the same beside busy others."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["own_time"]

_SCHEDULER = Path("/proc/thread-self/schedstat")


def own_time() -> float:
    """Return seconds that pass for this thread but while it could run and others had the processors.

    Use it in place of `time.monotonic` where a test says how long something may take at most. Only Linux tells;
    elsewhere the two are the same.
    """
    try:
        kept_waiting_ns = int(_SCHEDULER.read_text().split()[1])
    except (OSError, IndexError):
        kept_waiting_ns = 0
    return time.monotonic() - kept_waiting_ns / 1e9
