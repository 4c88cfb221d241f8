"""How the benchmarks that count updates hear of their ends."""

from __future__ import annotations

from collections.abc import Callable

from cabochon.contract.tracing import Tracer, UpdateTrace

__all__ = ["Ends"]


class Ends(Tracer):
    """Calls `ended` at the end of each update, and stops the benchmark if one has failed.

    It costs the pipeline what any tracer does: a record for each update.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def update_ended(self, trace: UpdateTrace) -> None:
        """Hear of an update."""
        if trace.error:
            raise SystemExit(f"an update failed: {trace.error}")
        self._ended()
