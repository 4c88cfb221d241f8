"""Events between the task that reads the connection and the one that takes them, bounded in number and in bytes."""

from __future__ import annotations

import anyio

from cabochon import SourceEvent

__all__ = ["EventBuffer"]


class EventBuffer:
    """One task puts, one takes; what is taken is all there is at that moment."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: list[SourceEvent] = []
        self._bytes = 0
        self._filled = anyio.Event()
        self._emptied = anyio.Event()

    def put(self, event: SourceEvent, size_bytes: int = 0) -> None:
        """Add an event of about this size; what is read already always fits."""
        self._events.append(event)
        self._bytes += size_bytes
        if len(self._events) == 1:
            self._filled.set()

    @property
    def is_full(self) -> bool:
        """Whether `room` would wait."""
        return len(self._events) >= self._max_events or self._bytes >= self._max_bytes

    async def room(self) -> None:
        """Wait until what was put is taken, if there is too much of it."""
        while self.is_full:
            await self._emptied.wait()

    async def take(self) -> list[SourceEvent]:
        """Wait for events and take all of them, in order."""
        await self._filled.wait()
        events, self._events, self._bytes = self._events, [], 0
        self._filled = anyio.Event()
        emptied, self._emptied = self._emptied, anyio.Event()
        emptied.set()
        return events
