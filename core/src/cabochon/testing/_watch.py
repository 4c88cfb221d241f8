"""What happens while something runs: what it logs, how long it takes, which tasks it leaves."""

from __future__ import annotations

import io
import logging
import time
from types import TracebackType
from typing import Self

import anyio
import structlog

__all__ = ["Watch"]


class Watch:
    """Watches from entering to leaving.

    Attributes:
        logged: everything that structlog was given, and what libraries logged from WARNING on, as text.
        duration_s: how long it took.
        tasks_left: ids of the tasks that run now and did not before; see `tasks_end`.
    """

    def __init__(self) -> None:
        self.duration_s = 0.0
        self.tasks_left: set[int] = set()
        self._tasks: set[int] = set()
        self._start = 0.0
        self._stream = io.StringIO()
        self._handler = logging.StreamHandler(self._stream)
        self._handler.setLevel(logging.WARNING)
        self._captured = structlog.testing.capture_logs()
        self._events: list[object] = []

    @property
    def logged(self) -> str:
        """What was logged, as text."""
        return repr(self._events) + self._stream.getvalue()

    async def tasks_end(self, *, within_s: float) -> None:
        """Give the tasks that were started since a moment to end, and note which did not."""
        with anyio.move_on_after(within_s):
            # Their owner is not known, so there is nothing else to wait for.
            while self._new_tasks():  # noqa: ASYNC110
                await anyio.sleep(0.005)
        self.tasks_left = self._new_tasks()

    def _new_tasks(self) -> set[int]:
        return {task.id for task in anyio.get_running_tasks()} - self._tasks

    def __enter__(self) -> Self:
        """Start to watch."""
        logging.getLogger().addHandler(self._handler)
        self._events = self._captured.__enter__()  # type: ignore[assignment] # entries are dictionaries
        try:
            self._tasks = {task.id for task in anyio.get_running_tasks()}
        except RuntimeError:
            self._tasks = set()
        self._start = time.monotonic()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop watching."""
        self.duration_s = time.monotonic() - self._start
        self._captured.__exit__(exc_type, exc, traceback)
        logging.getLogger().removeHandler(self._handler)
