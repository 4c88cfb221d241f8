"""What became of each update, and when: recorded for tracers, handed over once, at the end.

Nothing here is built unless a tracer listens, so that an agent without one pays a look at a flag. Times are seconds
since the epoch, on the pipeline's own clock. Documents and headers are never part of a trace; URLs are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import structlog

from cabochon.contract.metrics import Metrics
from cabochon.contract.tracing import AnyTrace, EntryTrace, Period, PolicyTrace, ReportTrace, Tracer, UpdateTrace
from cabochon.schemas import DataSourceEntry
from cabochon.sync.rules.update import Entry, EntryState, Update
from cabochon.urls import masked_url

__all__ = ["Traces"]

log = structlog.get_logger()


class Traces:
    """Where the pipeline leaves its traces, and tracers get them.

    Args:
        metrics: counts tracers that fail.
        now: seconds since the epoch.
    """

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self.now = now
        self._tracers: list[Tracer] = []

    @property
    def wanted(self) -> bool:
        """Whether anyone listens: if not, nothing needs to be recorded."""
        return bool(self._tracers)

    @contextmanager
    def sent_to(self, tracer: Tracer) -> Generator[None]:
        """Let a tracer hear of everything that ends inside this block."""
        self._tracers.append(tracer)
        try:
            yield
        finally:
            if tracer in self._tracers:
                self._tracers.remove(tracer)

    def ended(self, trace: AnyTrace) -> None:
        """Hand a trace to everyone who listens."""
        for tracer in tuple(self._tracers):
            try:
                match trace:
                    case UpdateTrace():
                        tracer.update_ended(trace)
                    case PolicyTrace():
                        tracer.policy_ended(trace)
                    case ReportTrace():
                        tracer.report_ended(trace)
            except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a tracer raises is the tracer's
                self._tracers.remove(tracer)
                self._metrics.count("tracers.quarantined")
                log.error(  # noqa: TRY400 - the traceback is the plugin author's business
                    "tracer.quarantined", tracer=type(tracer).__name__, error=f"{type(err).__name__}: {err}"
                )

    def update_ended(self, update: Update, error: str, *, taken_at: float, group_size: int) -> None:
        """Take down how an update went that ends now."""
        entries = tuple(_entry_trace(entry) for entry in update.entries)
        ended_at = self.now()
        tried = any(entry.tried for entry in update.entries)
        self.ended(
            UpdateTrace(
                update_id=update.id,
                kind=update.kind.name.lower(),
                source=update.source,
                number=update.number,
                period=Period(update.arrived_at, ended_at),
                entries=entries,
                commit=Period(taken_at, ended_at) if tried else None,
                group_size=group_size,
                error=error,
            )
        )


def _entry_trace(entry: Entry) -> EntryTrace:
    spec = entry.spec
    return EntryTrace(
        dst_path=str(entry.path) if spec is None else spec.dst_path,
        save_method=entry.method,
        url=masked_url(spec.url) if spec is not None and spec.url else "",
        topics=() if spec is None else tuple(spec.topics),
        fetch=None if entry.fetch_times is None else Period(*entry.fetch_times),
        fetched=entry.fetched,
        saved=entry.saved_for_its_publisher,
        moot=entry.state is EntryState.MOOT,
        error="" if entry.error is None else str(entry.error),
        size_bytes=None if entry.raw is None else len(entry.raw),
        traceparent=None if spec is None else _traceparent(spec),
    )


def _traceparent(spec: DataSourceEntry) -> str | None:
    """Return the header that says which trace the publisher is in (W3C Trace Context), and no other header."""
    headers: Any = (spec.config or {}).get("headers")
    if not isinstance(headers, Mapping):
        return None
    for name, value in cast("Mapping[object, object]", headers).items():
        if isinstance(name, str) and name.lower() == "traceparent" and isinstance(value, str):
            return value
    return None
