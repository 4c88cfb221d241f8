"""One subscriber: its topics, and what waits to be sent to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Subscriber"]


def _nothing() -> None:
    """Do nothing: nobody sends yet."""


class Subscriber:
    """What the hub knows of a connection.

    Args:
        max_messages: as many messages may wait.
        max_bytes: and as much of them; a single message may be longer.

    Attributes:
        topics: what it is subscribed to.
        sees: tells of a topic whether it may be followed; None for all of them.
        number: the last number of the log that it was told, or that was passed over for it.
        sent: how many messages were taken to be sent.
        closed: whether nothing will be sent to it any more.
        wake: called when the first message waits.
        drop: called with the reason when the connection has to end.
    """

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self.topics: set[str] = set()
        self.sees: Callable[[str], bool] | None = None
        self.number = 0
        self.sent = 0
        self.closed = False
        self.wake: Callable[[], None] = _nothing
        self.drop: Callable[[str], None] = lambda _why: None
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._room = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another message may wait, with room to spare."""
        return len(self._waiting) < self._max_messages // 2 and self._bytes < self._max_bytes // 2

    def put(self, frame: bytes) -> None:
        """Let a message wait, as a frame; too many of them end the connection, and after its end none is kept."""
        if self.closed:
            return
        self._waiting.append(frame)
        self._bytes += len(frame)
        if len(self._waiting) == 1:
            self.wake()
        if len(self._waiting) > self._max_messages or (self._bytes > self._max_bytes and len(self._waiting) > 1):
            self.drop("it does not read as fast as updates come")

    def take(self, at_most: int) -> bytes:
        """Take what waits, in one piece of about so many bytes at most, and at least one message."""
        taken: list[bytes] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0]) <= at_most):
            frame = self._waiting.popleft()
            taken.append(frame)
            size += len(frame)
        self._bytes -= size
        self.sent += len(taken)
        if self.has_room:
            self._room.set()
        return b"".join(taken)

    def close(self) -> None:
        """Forget what waits, and let nobody wait for room any longer."""
        self.closed = True
        self._waiting.clear()
        self._bytes = 0
        self._room.set()

    async def room(self) -> None:
        """Wait until there is room."""
        while not self.has_room:
            self._room = asyncio.Event()
            await self._room.wait()
