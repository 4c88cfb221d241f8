"""How much is under way, so that no more is taken in than there is room for."""

from __future__ import annotations

from cabochon.sync.bell import Bell
from cabochon.sync.rules.update import Kind, Update

__all__ = ["UnderWay"]


class UnderWay:
    """The updates that have arrived and not ended, and their bytes."""

    def __init__(self) -> None:
        self.updates = 0
        self.size_bytes = 0
        self._less = Bell()

    def started(self, update: Update) -> None:
        """Take note of an update that is under way from now on."""
        self.updates += 1
        self.size_bytes += update.size_bytes

    def grew(self, update: Update, by_bytes: int) -> None:
        """Take note of what was fetched for an update that is under way."""
        update.size_bytes += by_bytes
        self.size_bytes += by_bytes

    def ended(self, update: Update) -> None:
        """Take note of one that is no longer; a record was never under way."""
        if update.kind is not Kind.RECORD:
            self.updates -= 1
            self.size_bytes -= update.size_bytes
            self._less.ring()

    def has_room(self, *, max_updates: int, max_bytes: int) -> bool:
        """Tell whether another update may be taken in."""
        return self.updates < max_updates and self.size_bytes < max_bytes

    async def room(self, *, max_updates: int, max_bytes: int) -> None:
        """Wait until fewer updates are under way."""
        while not self.has_room(max_updates=max_updates, max_bytes=max_bytes):
            await self._less.answered()

    async def idle(self) -> None:
        """Wait until nothing is under way; entries that wait for a retry are not."""
        await self.room(max_updates=1, max_bytes=1)
