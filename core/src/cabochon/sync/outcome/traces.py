"""What became of each update, and when: recorded for tracers, handed over once, at the end.

Nothing here is built unless a tracer listens, so that an agent without one pays a look at a flag. Times are seconds
since the epoch, on the pipeline's own clock. Documents and headers are never part of a trace; URLs are masked.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

import structlog

from cabochon.metrics import Metrics
from cabochon.scheduler import Entry, EntryState, Update
from cabochon.schemas import DataSourceEntry
from cabochon.transaction_record import covered_later
from cabochon.urls import masked_url

__all__ = ["EntryTrace", "Period", "PolicyTrace", "ReportTrace", "Tracer", "Traces", "UpdateTrace"]

log = structlog.get_logger()

_IN_FORCE = frozenset({EntryState.SAVED, EntryState.SUPERSEDED})
_TRIED = frozenset({EntryState.SAVED, EntryState.REFUSED, EntryState.DEFERRED})


class Period(NamedTuple):
    """When something began and ended, in seconds since the epoch."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryTrace:
    """How one entry of a data update went.

    Attributes:
        dst_path: where it was to be written.
        save_method: "PUT", "PATCH" or "DELETE".
        url: where it was fetched from, masked; "" if its data came with it.
        topics: the topics it was published under.
        fetch: the fetch with all of its tries; None if there was none.
        fetched: whether its data is there.
        saved: whether it is in force, or something newer that covers it.
        error: why not; "" if it is.
        size_bytes: the size of its JSON; None if it was not had.
        traceparent: the W3C trace context among the headers of its `config`; None if there is none.
    """

    dst_path: str
    save_method: str
    url: str = ""
    topics: tuple[str, ...] = ()
    fetch: Period | None = None
    fetched: bool
    saved: bool
    error: str = ""
    size_bytes: int | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTrace:
    """How one data update went, from its arrival to its end.

    Attributes:
        update_id: as published; the entries of one base load share one.
        kind: "live", "base", "periodic", "retry", or "caller" for a transaction of a plugin.
        number: the agent's own, in the order of arrival.
        period: from the arrival to the end.
        entries: in the order of the update.
        commit: from when the committer took it to its end; None if nothing of it was to be written.
        group_size: updates that ended with the same commit.
        error: why its transaction has failed; "" if it has not.
    """

    update_id: str
    kind: str
    number: int
    period: Period
    entries: tuple[EntryTrace, ...]
    commit: Period | None
    group_size: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTrace:
    """How one policy bundle went.

    Attributes:
        policy_hash: the bundle's; None if it could not be had.
        fetch: asking the source for it.
        commit: writing its data files and its policies; None if it could not be had.
        policies: how many came in it; for a delta those that changed.
        error: why it is not in force; "" if it is.
    """

    policy_hash: str | None
    fetch: Period
    commit: Period | None = None
    policies: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTrace:
    """How the delivery of one report to one receiver went.

    Attributes:
        update_id: the update that it is about; None for one about policies.
        policy_hash: the policies that it is about; None for one about data.
        url: the receiver's, masked.
        period: from the first try to the end, pauses included.
        attempts: tries made.
        error: why it was given up; "" if it was taken.
    """

    update_id: str | None
    policy_hash: str | None
    url: str
    period: Period
    attempts: int
    error: str


class Tracer(ABC):
    """Hears what became of updates. Its methods must return at once: the sync waits for them.

    One that raises is taken out of service, logged by its class and counted.
    """

    def update_ended(self, trace: UpdateTrace) -> None:
        """Hear of a data update that has ended."""

    def policy_ended(self, trace: PolicyTrace) -> None:
        """Hear of a policy bundle that is in force, or failed."""

    def report_ended(self, trace: ReportTrace) -> None:
        """Hear of a report that was delivered, or given up."""


AnyTrace: TypeAlias = UpdateTrace | PolicyTrace | ReportTrace


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
        tried = any(entry.state in _TRIED for entry in update.entries)
        self.ended(
            UpdateTrace(
                update_id=update.id,
                kind=update.kind.name.lower(),
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
    saved = entry.state in _IN_FORCE
    if not saved and entry.state is not EntryState.DEFERRED:
        cover = covered_later(entry)
        saved = cover is not None and cover.state is EntryState.SAVED
    return EntryTrace(
        dst_path=str(entry.path) if spec is None else spec.dst_path,
        save_method=entry.method,
        url=masked_url(spec.url) if spec is not None and spec.url else "",
        topics=() if spec is None else tuple(spec.topics),
        fetch=None if entry.fetch_times is None else Period(*entry.fetch_times),
        fetched=entry.fetched,
        saved=saved,
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
