"""How many connections there may be: so many that descriptors are left for work, and for who comes next."""

from __future__ import annotations

import resource
from typing import Protocol

__all__ = ["Crowd", "descriptors"]

_MOST_DESCRIPTORS = 1 << 20
_MOST_RESERVED, _LEAST_RESERVED = 256, 24


class Idle(Protocol):
    """A connection that waits for a request."""

    def evict(self) -> None:
        """End it: another needs its place."""
        ...


class Crowd:
    """Counts connections; where there are too many, the one goes that has waited longest for a request.

    Args:
        most: connections of all kinds; those of WebSockets may take seven eighths.

    Attributes:
        at_once: how many may come before it is asked of the first whether there is room.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        # asyncio accepts for some turns of its loop before it says so here.
        self.at_once = max(1, min(128, most // 20))
        self.most_sockets = most - max(8, most // 8)
        self._all: dict[Idle, None] = {}
        self._idle: dict[Idle, None] = {}
        self._sockets = 0

    def come(self, connection: Idle) -> bool:
        """Take a connection, which waits for its first request; say whether there is room."""
        if len(self._all) + self._sockets >= self.most:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            self.gone(oldest)
            oldest.evict()
        self._all[connection] = None
        self._idle[connection] = None
        return True

    def busy(self, connection: Idle) -> None:
        """Take note that it has made a request."""
        self._idle.pop(connection, None)

    def waits(self, connection: Idle) -> None:
        """Take note that it waits for its next request."""
        if connection in self._all:
            self._idle[connection] = None

    def gone(self, connection: Idle) -> None:
        """Take note of the end of a connection, or that it is a WebSocket's now."""
        self._all.pop(connection, None)
        self._idle.pop(connection, None)

    def socket_came(self) -> bool:
        """Take a WebSocket; say whether there is room."""
        if self._sockets >= self.most_sockets:
            return False
        self._sockets += 1
        return True

    def socket_gone(self) -> None:
        """Take note of the end of one that was taken."""
        self._sockets -= 1


def descriptors() -> int:
    """Raise the process's limit of descriptors as far as it may be, and say how many connections that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _MOST_DESCRIPTORS) if hard != resource.RLIM_INFINITY else _MOST_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # some systems say less than they hold
    if soft == resource.RLIM_INFINITY:
        soft = _MOST_DESCRIPTORS
    return max(8, soft - min(_MOST_RESERVED, max(_LEAST_RESERVED, soft // 4)))
