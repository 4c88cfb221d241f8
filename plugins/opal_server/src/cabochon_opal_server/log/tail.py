"""The newest records of a log in memory, for those who follow it; pure."""

from __future__ import annotations

from collections.abc import Sequence

from cabochon import LogRecord

__all__ = ["Tail"]


class Tail:
    """What was appended last, bounded: who needs older records reads them from disk.

    A follower is nothing but the last number it has, so a slow one costs no memory: when the tail moves on without it,
    it reads pages until it has caught up. Both answer by number, so there is no seam between them.
    """

    def __init__(self, head: int, *, max_records: int = 8192, max_bytes: int = 8 << 20) -> None:
        self._first = head + 1
        self._records: list[LogRecord] = []
        self._bytes = 0
        self._max_records = max_records
        self._max_bytes = max_bytes

    @property
    def head(self) -> int:
        """The last number that was added."""
        return self._first + len(self._records) - 1

    def add(self, records: Sequence[LogRecord]) -> None:
        """Add what was appended, with the numbers that follow the head; forget what no longer fits."""
        self._records += records
        self._bytes += sum(len(record.body) for record in records)
        if len(self._records) > self._max_records or self._bytes > self._max_bytes:
            self._halve()

    def after(self, number: int, *, limit: int) -> Sequence[LogRecord] | None:
        """Return up to `limit` records after that number, none if there are none yet; None if the tail begins later."""
        if number < self._first - 1:
            return None
        start = number + 1 - self._first
        return self._records[start : start + limit]

    def forget(self, floor: int) -> None:
        """Drop what retention has removed: all records up to that number."""
        self._drop(max(0, min(floor + 1 - self._first, len(self._records))))

    def _halve(self) -> None:
        # Half of it at once, so that each record is moved about once in its life here.
        count = max(0, len(self._records) - self._max_records // 2)
        left = self._bytes - sum(len(record.body) for record in self._records[:count])
        while left > self._max_bytes // 2:
            left -= len(self._records[count].body)
            count += 1
        self._drop(count)

    def _drop(self, count: int) -> None:
        self._bytes -= sum(len(record.body) for record in self._records[:count])
        del self._records[:count]
        self._first += count
