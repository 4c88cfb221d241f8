"""What the engine held before this agent came, read beside everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskStatus

from cabochon.errors import StoreUnavailableError
from cabochon.kit.facts.engine_facts import Facts

__all__ = ["Survey"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

_PATIENCE_S = 1.0
"""Whoever asks waits this long for the end before hearing that it is not there yet."""


class Survey(Generic[K, A]):
    """Reads all facts of the engine once it is asked for them, however long that takes."""

    def __init__(self, read: Callable[[], AsyncIterator[Facts[K, A]]]) -> None:
        self._read = read
        self._asked = anyio.Event()
        self._ended = anyio.Event()
        self._found: dict[K, A] = {}
        self._error: Exception | None = None
        self._running = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read whenever it is asked for, until cancelled."""
        self._running = True
        task_status.started()
        while True:
            await self._asked.wait()
            ended, found = self._ended, self._found
            try:
                async for page in self._read():
                    found.update(page)
            except Exception as err:  # noqa: BLE001 - a guarded edge: told to who asks, who asks again
                self._error = err
            self._asked = anyio.Event()
            ended.set()

    async def result(self) -> Facts[K, A]:
        """Return what was found; it is read anew when asked for again.

        Raises:
            StoreUnavailableError: it is not all read yet, or could not be read.
            RuntimeError: nobody runs it.
        """
        if not self._running:
            msg = "nobody reads what the engine holds: open the store with `async with store.opened()`"
            raise RuntimeError(msg)
        self._asked.set()
        with anyio.move_on_after(_PATIENCE_S):
            await self._ended.wait()
        found, error = self._found, self._error
        if not self._ended.is_set():
            msg = f"still reading what the engine holds: {len(found)} facts so far"
            raise StoreUnavailableError(msg)
        self._ended, self._found, self._error = anyio.Event(), {}, None
        if error is not None:
            msg = f"what the engine holds could not be read: {error}"
            raise StoreUnavailableError(msg) from error
        return found
