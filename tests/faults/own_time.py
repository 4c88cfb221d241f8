"""How much of a time that has passed was our own, and not that of others on this machine."""

from __future__ import annotations

import time
from bisect import bisect_left

import anyio

from cabochon.testing.own_time import own_time

__all__ = ["OwnTime"]

_NOTE_EVERY_S = 0.01


class OwnTime:
    """Tells how much of the time between two moments was our own: a task notes it again and again."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._own: list[float] = []
        self._note()

    async def keep(self) -> None:
        """Note it, until cancelled."""
        while True:
            await anyio.sleep(_NOTE_EVERY_S)
            self._note()

    def between(self, begin: float, end: float) -> float:
        """Return how many seconds of these were ours; both are of `time.monotonic`."""
        self._note()
        return self._at(end) - self._at(begin)

    def _note(self) -> None:
        self._own.append(own_time())
        self._moments.append(time.monotonic())

    def _at(self, moment: float) -> float:
        """Return the own time of the first note from then on, less what has passed until that: not more than it was."""
        place = min(bisect_left(self._moments, moment), len(self._moments) - 1)
        return self._own[place] - max(self._moments[place] - moment, 0.0)
