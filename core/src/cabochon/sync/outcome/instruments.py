"""What the parts of a sync measure and tell with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cabochon.contract.metrics import Metrics
from cabochon.sync.outcome.traces import Traces

__all__ = ["Instruments"]


@dataclass(frozen=True, slots=True)
class Instruments:
    """The same ones for all parts.

    Attributes:
        metrics: counts and durations.
        traces: where what became of each update is told.
        wall: seconds since the epoch.
    """

    metrics: Metrics
    traces: Traces
    wall: Callable[[], float]
