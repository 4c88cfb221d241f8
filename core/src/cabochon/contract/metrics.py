"""Counters, depths and durations by name, for whoever exports them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["DURATION_BOUNDS_S", "Durations", "Metrics"]

DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the classes that durations are counted in; above the last there is one more."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What was observed under one name.

    Attributes:
        at_most: how many took at most each of `DURATION_BOUNDS_S`, and, last, how many there were in all.
        total_s: the sum of all, in seconds.
    """

    at_most: tuple[int, ...]
    total_s: float


class Metrics:
    """Counts what happened, how long it took, and knows whom to ask how deep a queue is.

    Names are dotted and lower-case (`reports.dropped`); a counter only grows, a gauge is asked when read, a duration is
    counted in its class.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._gauges: dict[str, Callable[[], float]] = {}
        self._classes: dict[str, list[int]] = {}
        self._totals_s: dict[str, float] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Add `by` to the counter `name`."""
        self._counts[name] += by

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Register a value that is read on demand, such as a queue's depth."""
        self._gauges[name] = read

    def observe(self, name: str, seconds: float) -> None:
        """Count one more duration under `name`."""
        classes = self._classes.get(name)
        if classes is None:
            classes = self._classes[name] = [0] * (len(DURATION_BOUNDS_S) + 1)
            self._totals_s[name] = 0.0
        classes[bisect_left(DURATION_BOUNDS_S, seconds)] += 1
        self._totals_s[name] += seconds

    def snapshot(self) -> dict[str, float]:
        """Every counter and gauge with its value now, sorted by name."""
        return dict(sorted({**self._counts, **self.gauges()}.items()))

    def counters(self) -> Mapping[str, int]:
        """Every counter that has counted."""
        return dict(self._counts)

    def gauges(self) -> Mapping[str, float]:
        """Every gauge with its value now."""
        return {name: read() for name, read in self._gauges.items()}

    def durations(self) -> Mapping[str, Durations]:
        """Everything that was observed, by name."""
        return {name: Durations(tuple(accumulate(of)), self._totals_s[name]) for name, of in self._classes.items()}
