"""What repeats in the log: so many lines of one kind are written in each interval, the others are counted."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

__all__ = ["Repeats"]

log = structlog.get_logger()

INTERVAL_S = 10.0
_KINDS = 1_000
_LEVELS = frozenset({"warning", "warn", "error", "exception", "critical", "fatal"})


class Repeats(logging.Filter):
    """A step of structlog for our events, from warnings up, and a filter for the lines of libraries.

    Whoever is told once too often is told how often it was, with the first line after the interval.

    Args:
        most: lines of one kind in an interval.
        clock: in seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._until = clock() + INTERVAL_S
        self._seen: Counter[str] = Counter()

    def __call__(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Let an event through, or drop it."""
        if not self._is_written(str(event.get("event", "")) if method in _LEVELS else None):
            raise structlog.DropEvent
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the line of a library through, or drop it: one kind is what comes from one place in its code."""
        return self._is_written(f"{record.name}:{record.lineno}")

    def _is_written(self, kind: str | None) -> bool:
        if self._clock() >= self._until:
            self._say()
        if kind is None:
            return True
        if kind not in self._seen and len(self._seen) >= _KINDS:
            kind = "others"
        self._seen[kind] += 1
        return self._seen[kind] <= self._most

    def _say(self) -> None:
        seen, self._seen = self._seen, Counter()
        self._until = self._clock() + INTERVAL_S
        for kind, times in seen.items():
            if times > self._most:
                log.warning("log.repeated", kind=kind, left_out=times - self._most)
