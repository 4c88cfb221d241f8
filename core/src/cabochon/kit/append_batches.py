"""Appends that come while one is written go together in the next, for backbones: many cost little more than one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from cabochon.errors import BackboneError

__all__ = ["AppendBatches"]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Append(Generic[T]):
    items: Sequence[T]
    size: int
    ended: bool = False
    first: int = 0
    error: BackboneError | None = None


class AppendBatches(Generic[T]):
    """Writes for many tasks, one write at a time, in the order in which they came.

    Args:
        write: writes items and returns the number of the first; the others follow without a hole.
        most: items of one write, unless one append has more.
        most_bytes: sizes of one write together, unless one append has more.
    """

    def __init__(
        self, write: Callable[[Sequence[T]], Awaitable[int]], *, most: int = 1024, most_bytes: int = 8 << 20
    ) -> None:
        self._write_items = write
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: list[_Append[T]] = []
        self._turn = anyio.Lock()

    async def append(self, items: Sequence[T], size: int) -> range:
        """Write the items together, `size` bytes in all; return their numbers.

        Raises:
            BackboneError: as `write` raised it, for each append of that write.
        """
        mine = _Append(items, size)
        self._waiting.append(mine)
        try:
            async with self._turn:
                # Whoever had the turn before may have taken ours along.
                if not mine.ended:
                    await self._write(self._taken())
        finally:
            # Cancelled: what another task's write has already taken along can't be called back.
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.error is not None:
            raise type(mine.error)(*mine.error.args) from mine.error
        return range(mine.first, mine.first + len(items))

    def _taken(self) -> list[_Append[T]]:
        """Take the first of those that wait, and those after it that fit."""
        count = items = size = 0
        for one in self._waiting:
            items, size = items + len(one.items), size + one.size
            if count and (items > self._most or size > self._most_bytes):
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _write(self, batch: list[_Append[T]]) -> None:
        error: BackboneError | None = BackboneError("the write was cancelled, and may have been done")
        try:
            number = await self._write_items([item for one in batch for item in one.items])
            for one in batch:
                one.first, number = number, number + len(one.items)
            error = None
        except BackboneError as err:
            error = err
        finally:
            for one in batch:
                one.ended, one.error = True, error
