"""One subscriber: its topics, and what waits to be sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio

__all__ = ["Subscriber"]


class Subscriber:
    """What the hub knows of a connection.

    Args:
        max_messages: as many messages may wait.
        max_chars: and as much text; a single message may be longer.

    Attributes:
        topics: what it is subscribed to.
        number: the last number of the log that was put or passed over.
        sent: how many messages were taken to be sent.
        overrun: set for good when more came than may wait: the connection has to end.
    """

    def __init__(self, *, max_messages: int, max_chars: int) -> None:
        self.topics: set[str] = set()
        self.number = 0
        self.sent = 0
        self.overrun = anyio.Event()
        self._max_messages = max_messages
        self._max_chars = max_chars
        self._waiting: deque[str] = deque()
        self._chars = 0
        self._news = anyio.Event()
        self._room = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another message may wait, with room to spare."""
        return len(self._waiting) < self._max_messages // 2 and self._chars < self._max_chars // 2

    def put(self, message: str) -> None:
        """Let a message wait; too many of them end the connection."""
        self._waiting.append(message)
        self._chars += len(message)
        self._news.set()
        if len(self._waiting) > self._max_messages or (self._chars > self._max_chars and len(self._waiting) > 1):
            self.overrun.set()

    async def take(self) -> Sequence[str]:
        """Wait for messages, and take them all."""
        while not self._waiting:
            self._news = anyio.Event()
            await self._news.wait()
        taken = tuple(self._waiting)
        self._waiting.clear()
        self._chars = 0
        self.sent += len(taken)
        self._room.set()
        return taken

    async def room(self) -> None:
        """Wait until there is room."""
        while not self.has_room:
            self._room = anyio.Event()
            await self._room.wait()
