"""Taking turns: how many repositories are looked at at once, whatever number there is of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

__all__ = ["Turns"]


class Turns:
    """Gives turns, so many at a time.

    Args:
        at_once: how many.
        longest_s: who takes longer makes room for the next, and goes on: one that hangs must not keep others waiting.
    """

    def __init__(self, at_once: int = 16, longest_s: float = 10.0) -> None:
        self._free = anyio.Semaphore(at_once)
        self._longest_s = longest_s

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """Wait for a turn, and keep it for the block."""
        await self._free.acquire()
        timer: asyncio.TimerHandle | None = None

        def end() -> None:
            nonlocal timer
            if timer is not None:
                timer.cancel()
                timer = None
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._longest_s, end)
        try:
            yield
        finally:
            end()
