"""The sync itself: source, fetchers, scheduler, committer and reports, wired and run in one task group."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from random import Random

import anyio
import anyio.abc
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.callback_reporter import CallbackReporter
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.metrics import Metrics
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.transaction_listener import TransactionListener
from cabochon.contract.update_source import (
    Connected,
    DataUpdateReceived,
    Disconnected,
    PolicyChanged,
    SourceEvent,
    UpdateSource,
)
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.settings.core import CoreSettings
from cabochon.sync.backup.store_backup import StoreBackup
from cabochon.sync.desired.compiler import ChangeCompiler
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.desired.put_off import PutOff
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.engine.committer import CommitLimits, Committer
from cabochon.sync.engine.listeners import ListenerPanel
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.engine.probe_options import ProbeOptions
from cabochon.sync.engine.recovery import EngineAccess, EngineRecovery
from cabochon.sync.engine.sender import EngineAway, EngineSender
from cabochon.sync.engine.update_ends import UpdateEnds
from cabochon.sync.engine.view import EngineView
from cabochon.sync.intake.connectivity import Connectivity
from cabochon.sync.intake.data_updater import DataLimits, DataUpdater
from cabochon.sync.intake.fetching import FetchPool, FetchRetry
from cabochon.sync.intake.policy_updater import PolicyUpdater
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.sync.intake.transactional_store import Transaction, TransactionalStore
from cabochon.sync.outcome.callback_register import CallbackRegister
from cabochon.sync.outcome.endings import Caller, Endings
from cabochon.sync.outcome.follow_ups import FollowUps, Reported
from cabochon.sync.outcome.reports import PendingReport, Reporting, ReportLimits
from cabochon.sync.outcome.traces import Traces
from cabochon.sync.outcome.under_way import UnderWay
from cabochon.sync.rules.records import policy_record
from cabochon.sync.rules.retry_book import RetryBook
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, Kind, Update
from cabochon.transactions.log import Half, TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["Pipeline", "PipelineParts"]

log = structlog.get_logger()

_LAST_COMMIT_S = 5.0
_LAST_REPORTS_S = 3.0
_COMMIT_BACKOFF_S = (0.02, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParts:
    """The open objects of the plugins that take part; names and schemes in lower case."""

    store: PolicyStore
    source: UpdateSource
    fetchers: Mapping[str, Fetcher] = field(default_factory=dict[str, Fetcher])
    fetchers_by_scheme: Mapping[str, Fetcher] = field(default_factory=dict[str, Fetcher])
    listeners: Mapping[str, TransactionListener] = field(default_factory=dict[str, TransactionListener])
    reporters_by_scheme: Mapping[str, CallbackReporter] = field(default_factory=dict[str, CallbackReporter])
    backup: StoreBackup | None = None


class Pipeline:
    """One agent's sync. `run` it once; `stop` ends it, the last commit within 5 s and the last reports within 3 s."""

    def __init__(
        self,
        parts: PipelineParts,
        settings: CoreSettings,
        *,
        metrics: Metrics | None = None,
        random: Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = metrics if metrics is not None else Metrics()
        self.traces = Traces(self.metrics, wall)
        self._parts = parts
        self._settings = settings
        self._wall = wall
        self._random = random if random is not None else Random()  # noqa: S311 - jitter, no secret
        store, source = parts.store, parts.source
        chosen = "default_update_callbacks" in settings.model_fields_set
        callbacks = settings.default_update_callbacks if chosen else source.callbacks
        self.register = CallbackRegister(callbacks, settings.default_update_callback_config)
        desired = DesiredState(owned_facts=store.traits.data_unit == "facts")
        self._view = EngineView(
            store,
            desired,
            PutOff(desired),
            TransactionLog(
                data=Half(enabled=settings.data_updater_enabled),
                policies=Half(enabled=settings.policy_updater_enabled and source.has_policies),
            ),
        )
        policies = DesiredPolicies()
        if parts.backup is not None:
            parts.backup.attach(self._view, policies)
        self.connectivity = Connectivity(
            offline_mode=settings.offline_mode_enabled,
            disabled=settings.default_connectivity_disabled and parts.backup is not None and self._view.log.served,
        )
        self._calls = SourceCalls(source, self.connectivity, settings.fetching_callback_timeout.total_seconds())
        self._scheduler = Scheduler()
        self.reporting = self._build_reporting()
        book: RetryBook[Reported] = RetryBook(self._backoff(1.0, settings.fetch_retry_max_wait.total_seconds()))
        self._follow_ups = FollowUps(self._scheduler, book, self.reporting, self.metrics, clock=anyio.current_time)
        self.under_way = UnderWay()
        self._endings = Endings(self._follow_ups, self.under_way, self.metrics)
        self._writer = PolicyWriter(
            store, policies, settings.commit_deadline.total_seconds(), self._backoff(*_COMMIT_BACKOFF_S)
        )
        if parts.backup is not None:
            self._writer.put_in_doubt()
        self._panel = ListenerPanel(parts.listeners, self.metrics)
        self._committer = self._build_committer()
        self._updater: DataUpdater | None = None
        self._policies = self._build_policy_updater()
        self.policy_store = TransactionalStore(self)
        self._stop = anyio.Event()
        self._intake_ended = anyio.Event()

    def _backoff(self, first_s: float, longest_s: float) -> Backoff:
        return Backoff(first_s=first_s, longest_s=longest_s, random=self._random)

    def _build_reporting(self) -> Reporting:
        settings = self._settings
        limits = ReportLimits(
            outbox_size=settings.report_outbox_size,
            timeout_s=settings.report_timeout.total_seconds(),
            backoff=self._backoff(1.0, 60.0),
        )
        return Reporting(
            self.register,
            self._parts.reporters_by_scheme,
            enabled=settings.should_report_on_data_updates,
            limits=limits,
            metrics=self.metrics,
            traces=self.traces,
        )

    def _build_policy_updater(self) -> PolicyUpdater:
        return PolicyUpdater(
            self._calls,
            self._writer,
            write_data=self._write_policy_data,
            record=self._record_policies,
            on_applied=self._policies_applied,
            traces=self.traces,
            metrics=self.metrics,
            wall=self._wall,
        )

    def _build_committer(self) -> Committer:
        settings = self._settings
        timeout_s = settings.commit_deadline.total_seconds()
        probe = ProbeOptions.of(settings)
        compiler = ChangeCompiler(
            self._view.store, self._view.desired, self._panel.owned_paths, diverged=self._diverged
        )
        sender = EngineSender(
            self._view, timeout_s=timeout_s, backoff=self._backoff(*_COMMIT_BACKOFF_S), metrics=self.metrics
        )
        engine = EngineAccess(self._view, self._panel, compiler, sender)
        recovery = EngineRecovery(
            engine,
            self._writer,
            timeout_s=timeout_s,
            probe_timeout_s=probe.timeout_s,
            backoff=self._backoff(0.1, 2.0),
            metrics=self.metrics,
            on_restored=self._restored,
            on_refused=self._follow_ups.refused,
        )
        return Committer(
            engine,
            recovery,
            self._scheduler,
            limits=CommitLimits(probe=probe.enabled, probe_interval_s=probe.interval_s),
            metrics=self.metrics,
            wall=self._wall,
            ends=UpdateEnds(self._panel, self._scheduler, self.traces, self.metrics, self._endings.ended),
        )

    # ----------------------------------------------------------------------------------------------- from outside

    @property
    def log(self) -> TransactionLog:
        """The transaction log as of the last commit."""
        return self._view.log

    def log_now(self) -> TransactionLog:
        """Return the log as it is now: an engine that does not answer holds nothing for anyone."""
        return self.log.with_engine(current=False) if self._committer.engine_away else self.log

    def stop(self) -> None:
        """Take nothing in any more, finish, and end `run`."""
        self._stop.set()

    async def stopping(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()

    async def source_ended(self) -> None:
        """Wait until the source has nothing more to give and everything it gave has ended."""
        await self._intake_ended.wait()
        await self.under_way.idle()

    async def refresh_data(self) -> None:
        """Load the base data again, as new arrivals; `SourceError` if the list can't be had."""
        if self._updater is not None:
            await self._updater.refresh()

    async def refresh_policies(self) -> None:
        """Ask the source for all policies again."""
        self._policies.request(full=True)

    async def carry_out(self, transaction: Transaction) -> TransactionRecord:
        """Commit a caller's transaction and return its record."""
        if transaction.transaction_type == "policy":
            return await self._carry_out_policies(transaction)
        caller = Caller()
        await self._submit(Update(transaction.id, transaction.entries, Kind.CALLER, ending=caller), caller)
        if caller.record is None:
            msg = f"transaction {transaction.id} has ended without a record"
            raise RuntimeError(msg)
        return caller.record

    def give_up(self, transaction: Transaction, error: BaseException) -> None:
        """Record a caller's transaction that was rolled back."""
        self._record(
            TransactionRecord(
                number=self._scheduler.last_number + 1,
                id=transaction.id,
                transaction_type=transaction.transaction_type or "data",
                success=False,
                error=f"rolled back: {type(error).__name__}: {error}",
                created_at=self._wall(),
                ended_at=self._wall(),
            )
        )

    # --------------------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the engine in sync until `stop`."""
        async with anyio.create_task_group() as background:
            background.start_soon(self._panel.run)
            background.start_soon(self.reporting.run)
            committing = anyio.Event()
            background.start_soon(self._run_committer, committing)
            if self._parts.backup is not None:
                background.start_soon(self._parts.backup.run, self._view, self.metrics)
            async with anyio.create_task_group() as intake:
                self._updater = self._build_updater(intake)
                if self._settings.data_updater_enabled:
                    intake.start_soon(self._updater.run)
                if self._settings.policy_updater_enabled and self._parts.source.has_policies:
                    intake.start_soon(self._policies.run)
                intake.start_soon(self._take_in)
                task_status.started()
                await self._stop.wait()
                intake.cancel_scope.cancel()
            await self._finish(committing)
            background.cancel_scope.cancel()

    def _build_updater(self, tasks: anyio.abc.TaskGroup) -> DataUpdater:
        settings = self._settings
        retry = settings.data_updater_conn_retry
        fetches = FetchPool(
            self._parts.fetchers,
            self._parts.fetchers_by_scheme,
            side_by_side=settings.fetching_worker_count,
            retry=FetchRetry(
                attempts=retry.attempts,
                backoff=self._backoff(retry.wait_time.total_seconds(), retry.longest_wait.total_seconds()),
            ),
            metrics=self.metrics,
        )
        return DataUpdater(
            self._calls,
            self._follow_ups,
            self.under_way,
            self._committer,
            fetches,
            tasks,
            limits=DataLimits(
                max_updates=settings.pipeline_max_updates,
                max_bytes=settings.pipeline_max_bytes,
                fetch_timeout_s=settings.fetching_callback_timeout.total_seconds(),
            ),
            wall=self._wall,
        )

    async def _run_committer(self, ended: anyio.Event) -> None:
        try:
            await self._committer.run()
        finally:
            ended.set()

    async def _finish(self, committing: anyio.Event) -> None:
        self._committer.stop()
        with anyio.move_on_after(_LAST_COMMIT_S):
            await committing.wait()
        if self._parts.backup is not None:
            await self._parts.backup.finish(self._view, self.metrics)
        await self.reporting.drain(within_s=_LAST_REPORTS_S)
        if self.under_way.updates:
            log.warning("updates.dropped", count=self.under_way.updates, why="the agent stops")

    async def _take_in(self) -> None:
        """Follow the source to its end, except while an operator has cut us off."""
        ended = False
        while not ended:
            await self.connectivity.enabled()
            with self.connectivity.scope():
                await self._follow()
                ended = True
            if not ended:
                self._committer.change_log(_disconnected)
        log.info("update_source.ended")
        self._intake_ended.set()

    async def _follow(self) -> None:
        """Follow the source to its end; one that breaks is followed again from its next connection on."""
        backoff = self._backoff(1.0, 30.0)
        tries = 0
        events = self._parts.source.events()
        while True:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
            except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a source raises is the source's
                tries += 1
                wait = backoff.wait_s(tries)
                self.metrics.count("update_source.failed")
                log.warning(
                    "update_source.failed", error=f"{type(err).__name__}: {err}", attempt=tries, wait_s=round(wait, 3)
                )
                self._committer.change_log(_disconnected)
                await anyio.sleep(wait)
                events = self._parts.source.events()
            else:
                tries = 0
                try:
                    await self._take(event)
                except BaseException:
                    # The agent stops or is cut off: let the source clean up now, and not when the garbage is collected.
                    await _close(events)
                    raise

    async def _take(self, event: SourceEvent) -> None:
        updater = self._updater if self._settings.data_updater_enabled else None
        match event:
            case DataUpdateReceived():
                if updater is not None:
                    await updater.receive(event)
            case Connected(resumed):
                log.info("update_source.connected", resumed=resumed)
                self._committer.change_log(_connected)
                self._policies.request()
                if updater is not None:
                    await updater.connected(resumed=resumed)
            case Disconnected(reason):
                log.warning("update_source.disconnected", reason=reason)
                self._committer.change_log(_disconnected)
            case PolicyChanged():
                self._policies.request()

    # --------------------------------------------------------------------------------------------- turns of events

    def _policies_applied(self) -> None:
        self._committer.policies_changed()
        if self._updater is not None:
            self._updater.policies_changed()

    def _restored(self, paths: Collection[DocumentPath]) -> None:
        self._follow_ups.restored(paths)
        self._policies.engine_is_back()

    def _diverged(self) -> None:
        self.metrics.count("desired_state.diverged")
        log.error("desired_state.diverged", why="an edit that the engine took does not apply to our copy")

    async def _submit(self, update: Update, caller: Caller) -> None:
        if self._updater is None:
            msg = "the pipeline is not running"
            raise RuntimeError(msg)
        self._updater.submit(update)
        await caller.wait()

    async def _write_policy_data(self, policy_hash: str, entries: list[Entry]) -> list[Entry]:
        if entries:
            caller = Caller()
            await self._submit(Update(policy_hash, entries, Kind.POLICY_DATA, ending=caller), caller)
        return entries

    async def _carry_out_policies(self, transaction: Transaction) -> TransactionRecord:
        started = self._wall()
        error = ""
        try:
            await self._writer.write(transaction.id, transaction.policies)
        except (StoreRejectedError, EngineAway) as err:
            error = str(err)
        else:
            self._policies_applied()
        record = policy_record(transaction.id, error, created_at=started, ended_at=self._wall())
        self._record(record)
        return record

    async def _record_policies(self, record: TransactionRecord, policy_hash: str) -> None:
        self._record(record)
        self.reporting.submit(PendingReport(update_id=None, policy_hash=policy_hash))

    def _record(self, record: TransactionRecord) -> None:
        self._scheduler.arrive(Update(record.id, [], Kind.RECORD, record=record))
        self._committer.notify()


async def _close(events: AsyncIterator[SourceEvent]) -> None:
    if isinstance(events, AsyncGenerator):
        with anyio.move_on_after(1.0, shield=True):
            await events.aclose()


def _connected(now: TransactionLog) -> TransactionLog:
    return now.with_source_connected(connected=True)


def _disconnected(now: TransactionLog) -> TransactionLog:
    return now.with_source_connected(connected=False)
