"""Reports: made when an update ends, delivered by the callback reporters, never in the way of the sync.

Reports wait in a bounded outbox. Each receiver has a queue and a task of its own while it has reports, so one that
hangs keeps nobody else waiting. A failed delivery is tried again with backoff and jitter, not before a receiver's
`Retry-After`; what is dropped is counted and logged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio
import anyio.abc
import msgspec
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.callback_reporter import Callback, CallbackReporter
from cabochon.contract.metrics import Metrics
from cabochon.contract.tracing import Period, ReportTrace
from cabochon.documents import json_values
from cabochon.documents.off_loop import off_loop
from cabochon.errors import ReportError
from cabochon.schemas import DataEntryReport, DataSourceEntry, DataUpdateReport, UpdateCallback
from cabochon.sync.bell import Bell
from cabochon.sync.outcome.callback_register import CallbackRegister
from cabochon.sync.outcome.traces import Traces
from cabochon.urls import masked_url

__all__ = ["CallbackRegister", "EntryResult", "PendingReport", "ReportLimits", "Reporting"]

log = structlog.get_logger()

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class EntryResult:
    """What became of one entry; `raw` is its data, for the hash."""

    spec: DataSourceEntry
    fetched: bool
    saved: bool
    raw: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingReport:
    """A report before its hashes are computed. `receivers` are those beside the registered ones."""

    update_id: str | None
    results: Sequence[EntryResult] = ()
    receivers: Sequence[Callback] = ()
    policy_hash: str | None = None
    user_data: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLimits:
    """How many reports wait, how long one try takes, how often it is made."""

    outbox_size: int = 10_000
    timeout_s: float = 10.0
    attempts: int = 10
    backoff: Backoff = field(default_factory=Backoff)


class _Delivery(NamedTuple):
    callback: Callback
    update_id: str | None
    policy_hash: str | None
    report: bytes


class Reporting:
    """The outbox. `submit` never waits; `run` delivers until cancelled; `drain` ends it."""

    def __init__(
        self,
        register: CallbackRegister,
        by_scheme: Mapping[str, CallbackReporter],
        *,
        enabled: bool,
        limits: ReportLimits,
        metrics: Metrics,
        traces: Traces,
    ) -> None:
        self._register = register
        self._by_scheme = by_scheme
        self.enabled = enabled
        self._limits = limits
        self._metrics = metrics
        self._traces = traces
        self._made: deque[PendingReport] = deque()
        self._queues: dict[str, deque[_Delivery]] = {}
        self._waiting = 0
        self._bell = Bell()
        self._draining = anyio.Event()
        self._idle = Bell()
        metrics.gauge("reports.waiting", lambda: self._waiting + len(self._made))

    def receivers(self, callbacks: UpdateCallback) -> Sequence[Callback]:
        """Return the one-time receivers that an update names."""
        return self._register.resolve(callbacks) if self.enabled else ()

    def submit(self, report: PendingReport) -> None:
        """Put a report into the outbox; the oldest one is dropped if that is full."""
        if not self.enabled or (not self._register and not report.receivers):
            return
        if len(self._made) >= self._limits.outbox_size:
            self._dropped(self._made.popleft().update_id, "the outbox is full")
        self._made.append(report)
        self._bell.ring()

    async def run(self) -> None:
        """Make and deliver reports until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                while self._made:
                    await self._dispatch(self._made.popleft(), tasks)
                self._check_idle()
                await self._bell.answered()

    async def drain(self, *, within_s: float) -> None:
        """Give every report one more try, without pauses, and drop what is left after `within_s`."""
        self._draining.set()
        with anyio.move_on_after(within_s):
            while self._made or self._waiting:
                await self._idle.answered()
        left = len(self._made) + self._waiting
        if left:
            self._metrics.count("reports.dropped", left)
            log.warning("reports.dropped", count=left, why="the agent stops")

    async def _dispatch(self, pending: PendingReport, tasks: anyio.abc.TaskGroup) -> None:
        report = await _finished(pending)
        for callback in self._register.receivers(pending.receivers):
            target = callback.url
            queue = self._queues.get(target)
            delivery = _Delivery(callback, pending.update_id, pending.policy_hash, report)
            if self._waiting >= self._limits.outbox_size:
                self._make_room()
            self._waiting += 1
            if queue is None:
                self._queues[target] = queue = deque([delivery])
                tasks.start_soon(self._deliver_all, target, queue)
            else:
                queue.append(delivery)

    def _make_room(self) -> None:
        longest = max(self._queues.values(), key=len)
        # The first of a queue is being delivered: drop the one behind it.
        victim = 1 if len(longest) > 1 else 0
        update_id = longest[victim].update_id
        del longest[victim]
        self._waiting -= 1
        self._dropped(update_id, "the outbox is full")

    async def _deliver_all(self, target: str, queue: deque[_Delivery]) -> None:
        while queue:
            delivery = queue[0]
            await self._deliver(delivery)
            # What waited longest may have been dropped meanwhile to make room.
            if queue and queue[0] is delivery:
                queue.popleft()
                self._waiting -= 1
        del self._queues[target]
        self._check_idle()

    def _check_idle(self) -> None:
        if not self._made and not self._waiting:
            self._idle.ring()

    async def _deliver(self, delivery: _Delivery) -> None:
        limits = self._limits
        callback, update_id, _, report = delivery
        began = self._traces.now()
        for attempt in range(1, limits.attempts + 1):
            error = await self._once(callback, report)
            if error is None:
                self._metrics.count("reports.delivered")
                log.debug("report.delivered", update_id=update_id, url=masked_url(callback.url), attempt=attempt)
                self._trace(delivery, began, attempt)
                return
            if not error.again or attempt == limits.attempts or self._draining.is_set():
                self._dropped(update_id, str(error), url=masked_url(callback.url), attempt=attempt)
                self._trace(delivery, began, attempt, str(error))
                return
            wait = limits.backoff.wait_s(attempt, at_least_s=error.retry_after_s)
            self._metrics.count("reports.retried")
            log.warning(
                "report.retried",
                update_id=update_id,
                url=masked_url(callback.url),
                attempt=attempt,
                wait_s=round(wait, 3),
                error=str(error),
            )
            with anyio.move_on_after(wait):
                await self._draining.wait()

    def _trace(self, delivery: _Delivery, began: float, attempts: int, error: str = "") -> None:
        if self._traces.wanted:
            self._traces.ended(
                ReportTrace(
                    update_id=delivery.update_id,
                    policy_hash=delivery.policy_hash,
                    url=masked_url(delivery.callback.url),
                    period=Period(began, self._traces.now()),
                    attempts=attempts,
                    error=error,
                )
            )

    async def _once(self, callback: Callback, report: bytes) -> ReportError | None:
        scheme = callback.url.partition(":")[0].lower()
        reporter = self._by_scheme.get(scheme)
        if reporter is None:
            known = ", ".join(sorted(self._by_scheme)) or "none"
            return ReportError(f"no callback reporter is installed for {scheme!r} URLs; known: {known}", again=False)
        try:
            with anyio.fail_after(self._limits.timeout_s):
                await reporter.report(report, callback)
        except ReportError as err:
            return err
        except TimeoutError:
            return ReportError(f"no answer within {self._limits.timeout_s:g} s")
        except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a reporter raises is the reporter's
            name = type(reporter).__name__
            log.warning("callback_reporter.failed", reporter=name, error=f"{type(err).__name__}: {err}")
            return ReportError(f"{name} failed with {type(err).__name__}: {err}", again=False)
        return None

    def _dropped(self, update_id: str | None, why: str, **more: object) -> None:
        self._metrics.count("reports.dropped")
        log.warning("report.dropped", update_id=update_id, why=why, **more)


async def _finished(pending: PendingReport) -> bytes:
    reports = [
        DataEntryReport(
            entry=_without_data(result.spec),
            fetched=result.fetched,
            saved=result.saved,
            hash=None if result.raw is None else await off_loop(json_values.peer_hash, result.raw),
        )
        for result in pending.results
    ]
    return _encoder.encode(
        DataUpdateReport(
            update_id=pending.update_id,
            reports=tuple(reports),
            policy_hash=pending.policy_hash,
            user_data=dict(pending.user_data),
        )
    )


def _without_data(spec: DataSourceEntry) -> DataSourceEntry:
    """Leave the document out of its report: the hash stands for it, as on the peer's page."""
    return msgspec.structs.replace(spec, data=msgspec.UNSET)
