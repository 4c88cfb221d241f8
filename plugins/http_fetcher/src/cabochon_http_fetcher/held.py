"""The bytes of documents that are still coming: counted over all of them, so that many do not take all memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Held", "Share"]


class Share:
    """What one document holds."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.bytes = 0

    def add(self, count: int) -> bool:
        """Take note of more; False where all documents together hold too much then."""
        self.bytes += count
        self._held.bytes += count
        return self._held.bytes <= self._held.most


class Held:
    """What all of them hold, `most` bytes at most."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0

    @contextmanager
    def share(self) -> Generator[Share]:
        """Count one document; leaving lets go of it."""
        share = Share(self)
        try:
            yield share
        finally:
            self.bytes -= share.bytes
