"""How a part of the sync wakes a task of another: ring, and whoever waits looks what there is to do."""

from __future__ import annotations

import math

import anyio

__all__ = ["Bell"]


class Bell:
    """Wakes a task that waits for work. A ring while nobody waits is kept, several are one.

    A ring says that something may have changed, and no more: whoever it wakes looks for itself. So one that comes
    late, or twice, does no harm. Of several tasks that wait, a ring wakes all.
    """

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Wake who waits, or the next one who does; never waits."""
        self._rung.set()

    async def answered(self, *, within_s: float = math.inf) -> bool:
        """Wait for a ring and take it; False if none came in time. Cancelled while it waits, it takes none."""
        rung = self._rung
        with anyio.move_on_after(within_s):
            await rung.wait()
        return self._take(rung)

    def taken(self) -> bool:
        """Take a ring that was kept, without waiting; False if there is none."""
        return self._take(self._rung)

    def _take(self, rung: anyio.Event) -> bool:
        if not rung.is_set():
            return False
        # Another one who waited for the same ring may have been faster, and the bell may have been rung again since.
        if rung is self._rung:
            self._rung = anyio.Event()
        return True
