"""Counters and depths by name, for whoever exports them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["Metrics"]


class Metrics:
    """Counts what happened and knows whom to ask how deep a queue is.

    Names are dotted and lower-case (`reports.dropped`); a counter only grows, a gauge is asked when read.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Add `by` to the counter `name`."""
        self._counts[name] += by

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Register a value that is read on demand, such as a queue's depth."""
        self._gauges[name] = read

    def snapshot(self) -> dict[str, float]:
        """Every counter and gauge with its value now, sorted by name."""
        return dict(sorted({**self._counts, **{name: read() for name, read in self._gauges.items()}}.items()))
