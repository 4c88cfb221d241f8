"""Reports: made when an update ends, delivered by the callback reporters, never in the way of the sync.

Reports wait in a bounded outbox, from which a bounded number of workers delivers them: the thousandth receiver costs
what the first one does, and one that hangs keeps nobody else waiting. A failed delivery is tried again with backoff and
jitter, not before a receiver's `Retry-After`; what is dropped is counted and logged.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

import anyio
import anyio.abc
import msgspec
import structlog
from anyio.lowlevel import checkpoint

from cabochon.backoff import Backoff
from cabochon.contract.callback_reporter import Callback, CallbackReporter
from cabochon.contract.metrics import Metrics
from cabochon.contract.tracing import Period, ReportTrace
from cabochon.documents import json_values
from cabochon.documents.off_loop import off_loop
from cabochon.errors import ReportError
from cabochon.schemas import DataEntryReport, DataSourceEntry, DataUpdateReport, UpdateCallback
from cabochon.settings.core import CoreSettings
from cabochon.sync.bell import Bell
from cabochon.sync.outcome.callback_register import CallbackRegister
from cabochon.sync.outcome.outbox import Delivery, Outbox, Receiver
from cabochon.sync.outcome.traces import Traces
from cabochon.urls import masked_url

__all__ = ["CallbackRegister", "EntryResult", "PendingReport", "ReportLimits", "Reporting"]

log = structlog.get_logger()

_encoder = msgspec.json.Encoder()
_YIELD_EVERY = 64


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
    """How many reports wait, how many are delivered side by side, how long one try takes, how often it is made.

    `receivers` is how many one-time receivers one update may name.
    """

    outbox_size: int = 10_000
    workers: int = 50
    receivers: int = 1_000
    timeout_s: float = 10.0
    attempts: int = 10
    backoff: Backoff = field(default_factory=Backoff)

    @classmethod
    def of(cls, settings: CoreSettings, random: Random) -> Self:
        """Take the settings; `random` is where the jitter comes from."""
        return cls(
            outbox_size=settings.report_outbox_size,
            workers=settings.report_workers,
            receivers=settings.report_receivers,
            timeout_s=settings.report_timeout.total_seconds(),
            backoff=Backoff(first_s=1.0, longest_s=60.0, random=random),
        )


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
        self._outbox = Outbox(size=limits.outbox_size, workers=limits.workers)
        self._working = 0
        self._bell = Bell()
        self._draining = anyio.Event()
        self._idle = Bell()
        metrics.gauge("reports.waiting", lambda: len(self._outbox) + len(self._made))

    def receivers(self, callbacks: UpdateCallback) -> Sequence[Callback]:
        """Return the one-time receivers that an update names, as many as it may name."""
        if not self.enabled:
            return ()
        most = self._limits.receivers
        if (count := len(callbacks.callbacks)) > most:
            self._metrics.count("reports.dropped", count - most)
            log.warning(
                "reports.dropped",
                count=count - most,
                why=f"one update may name {most} callbacks: OPAL_REPORT_RECEIVERS",
            )
            callbacks = UpdateCallback(callbacks=callbacks.callbacks[:most])
        return self._register.resolve(callbacks)

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
                now = anyio.current_time()
                self._outbox.wake(math.inf if self._draining.is_set() else now)
                self._set_to_work(tasks)
                self._check_idle()
                due_at = self._outbox.next_due_at()
                await self._bell.answered(within_s=math.inf if due_at is None else max(0.0, due_at - now))

    async def drain(self, *, within_s: float) -> None:
        """Give every report one more try, without pauses, and drop what is left after `within_s`."""
        self._draining.set()
        self._bell.ring()
        with anyio.move_on_after(within_s):
            while self._made or self._outbox:
                await self._idle.answered()
        left = len(self._made) + len(self._outbox)
        if left:
            self._metrics.count("reports.dropped", left)
            log.warning("reports.dropped", count=left, why="the agent stops")

    async def _dispatch(self, pending: PendingReport, tasks: anyio.abc.TaskGroup) -> None:
        report = await _finished(pending)
        for count, callback in enumerate(self._register.receivers(pending.receivers), start=1):
            dropped = self._outbox.put(Delivery(callback, pending.update_id, pending.policy_hash, report))
            if dropped is not None:
                self._dropped(dropped.update_id, "the outbox is full")
            if not count % _YIELD_EVERY:
                await checkpoint()
        self._set_to_work(tasks)
        await checkpoint()

    def _set_to_work(self, tasks: anyio.abc.TaskGroup) -> None:
        while self._working < self._limits.workers:
            receiver = self._outbox.take()
            if receiver is None:
                return
            self._working += 1
            tasks.start_soon(self._work, receiver)

    async def _work(self, receiver: Receiver | None) -> None:
        while receiver is not None:
            await self._try(receiver)
            receiver = self._outbox.take()
        self._working -= 1
        self._bell.ring()

    def _check_idle(self) -> None:
        if not self._made and not self._outbox:
            self._idle.ring()

    async def _try(self, receiver: Receiver) -> None:
        limits = self._limits
        delivery, attempt = receiver.queue[0], receiver.tries
        callback, update_id, _, report = delivery
        if attempt == 1:
            receiver.began = self._traces.now()
        error = await self._once(callback, report)
        if error is None:
            self._metrics.count("reports.delivered")
            log.debug("report.delivered", update_id=update_id, url=masked_url(callback.url), attempt=attempt)
        elif not error.again or attempt >= limits.attempts or self._draining.is_set():
            self._dropped(update_id, str(error), url=masked_url(callback.url), attempt=attempt)
        else:
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
            self._outbox.again(receiver, anyio.current_time() + wait)
            self._bell.ring()
            return
        self._trace(delivery, receiver.began, attempt, "" if error is None else str(error))
        self._outbox.done(receiver, well=error is None or not error.again)

    def _trace(self, delivery: Delivery, began: float, attempts: int, error: str = "") -> None:
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
