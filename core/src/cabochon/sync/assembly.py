"""Which parts one sync has, and who knows whom. Nothing is built elsewhere, and nothing here does anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.callback_reporter import CallbackReporter
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.metrics import Metrics
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.transaction_listener import TransactionListener
from cabochon.contract.update_source import UpdateSource
from cabochon.settings.core import CoreSettings
from cabochon.sync.backup.store_backup import StoreBackup
from cabochon.sync.bell import Bell
from cabochon.sync.desired.compiler import ChangeCompiler
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.engine.access import EngineAccess
from cabochon.sync.engine.announcements import Announcements
from cabochon.sync.engine.committer import Committer
from cabochon.sync.engine.contact import Contact
from cabochon.sync.engine.earlier_life import EarlierLife
from cabochon.sync.engine.listeners import ListenerPanel
from cabochon.sync.engine.options import CommitOptions
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.engine.recovery import EngineRecovery
from cabochon.sync.engine.refill import Refill
from cabochon.sync.engine.sender import EngineSender
from cabochon.sync.engine.value_writer import ValueWriter
from cabochon.sync.engine.view import EngineView
from cabochon.sync.intake.arrivals import Arrivals
from cabochon.sync.intake.base_data import BaseData
from cabochon.sync.intake.connectivity import Connectivity
from cabochon.sync.intake.data_updater import DataLimits, DataUpdater
from cabochon.sync.intake.fetching import FetchOptions, FetchPool
from cabochon.sync.intake.own_transactions import OwnTransactions
from cabochon.sync.intake.policy_data import PolicyDataFiles
from cabochon.sync.intake.policy_updater import PolicyUpdater
from cabochon.sync.intake.retries import Retries
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.sync.intake.source_follower import SourceFollower
from cabochon.sync.outcome.callback_register import CallbackRegister
from cabochon.sync.outcome.endings import Endings
from cabochon.sync.outcome.follow_ups import FollowUps, Reported
from cabochon.sync.outcome.instruments import Instruments
from cabochon.sync.outcome.reports import Reporting, ReportLimits
from cabochon.sync.outcome.traces import Traces
from cabochon.sync.outcome.under_way import UnderWay
from cabochon.sync.rules.retry_book import RetryBook
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.transactions.log import Half, TransactionLog

__all__ = ["Assembly", "PipelineParts"]

log = structlog.get_logger()

_COMMIT_BACKOFF_S = (0.02, 1.0)
"""Which part of the fetches side by side may be of entries that failed before."""


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


class Assembly:  # size: one attribute for each part of the sync
    """The parts of one sync, from the engine up to the source: each is given those that it knows."""

    # size: builds one part after the other, from the engine up; the order is what is to be read here
    def __init__(
        self,
        parts: PipelineParts,
        settings: CoreSettings,
        metrics: Metrics,
        *,
        random: Random,
        wall: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._random = random
        self.metrics = metrics
        self.traces = Traces(metrics, wall)
        self.instruments = Instruments(metrics, self.traces, wall)
        self.scheduler = Scheduler()
        self.commits = CommitOptions.of(settings)
        # What is known of the engine.
        policies = DesiredPolicies()
        self.view = self._view()
        if parts.backup is not None:
            parts.backup.attach(self.view, policies)
        self.connectivity = Connectivity(
            offline_mode=settings.offline_mode_enabled,
            disabled=settings.default_connectivity_disabled and parts.backup is not None and self.view.log.now.served,
        )
        # What follows when an update has ended.
        self.register = self._register()
        self.reporting = self._reporting()
        policies_wanted = Bell()
        self.follow_ups = self._follow_ups(policies_wanted)
        self.under_way = UnderWay()
        endings = Endings(self.follow_ups, self.under_way, metrics)
        # Into the engine.
        self.writer = PolicyWriter(parts.store, policies, self.commits.timeout_s, self._backoff(*_COMMIT_BACKOFF_S))
        if parts.backup is not None:
            self.writer.put_in_doubt()
        self.panel = ListenerPanel(parts.listeners, metrics)
        self.committer = self._committer(endings)
        # From the source.
        calls = SourceCalls(parts.source, self.connectivity, settings.fetching_callback_timeout.total_seconds())
        self.arrivals = Arrivals(self.scheduler, self.under_way, self.committer)
        fetches = FetchOptions.of(settings, random)
        self.updater = self._updater(fetches)
        self.base_data = BaseData(calls, self.updater, self.follow_ups, self.reporting, self.committer)
        self.retries = Retries(
            self.updater,
            self.follow_ups,
            self.connectivity,
            side_by_side=fetches.retries_side_by_side,
            budget=fetches.budget,
        )
        self.transactions = OwnTransactions(
            self.updater,
            self.arrivals,
            self.writer,
            policies_applied=self._policies_applied,
            wall=wall,
        )
        self.policies = self._policy_updater(calls, policies_wanted)
        self.follower = SourceFollower(
            calls,
            self.updater,
            self.base_data,
            self.policies,
            self.committer,
            data_enabled=settings.data_updater_enabled,
            backoff=self._backoff(1.0, 30.0),
            metrics=metrics,
        )

    def _backoff(self, first_s: float, longest_s: float) -> Backoff:
        return Backoff(first_s=first_s, longest_s=longest_s, random=self._random)

    def _view(self) -> EngineView:
        settings = self._settings
        log_of_nothing = TransactionLog(
            data=Half(enabled=settings.data_updater_enabled),
            policies=Half(enabled=settings.policy_updater_enabled and self._parts.source.has_policies),
        )
        return EngineView.of(self._parts.store, log_of_nothing)

    def _register(self) -> CallbackRegister:
        settings = self._settings
        chosen = "default_update_callbacks" in settings.model_fields_set
        callbacks = settings.default_update_callbacks if chosen else self._parts.source.callbacks
        return CallbackRegister(callbacks, settings.default_update_callback_config)

    def _reporting(self) -> Reporting:
        settings = self._settings
        return Reporting(
            self.register,
            self._parts.reporters_by_scheme,
            enabled=settings.should_report_on_data_updates,
            limits=ReportLimits.of(settings, self._random),
            metrics=self.metrics,
            traces=self.traces,
        )

    def _follow_ups(self, engine_back: Bell) -> FollowUps:
        book: RetryBook[Reported] = RetryBook(self._backoff(1.0, self._settings.fetch_retry_max_wait.total_seconds()))
        return FollowUps(
            self.scheduler,
            book,
            self.reporting,
            self.metrics,
            clock=anyio.current_time,
            engine_back=engine_back,
        )

    def _committer(self, endings: Endings) -> Committer:
        options = self.commits
        compiler = ChangeCompiler(self.view.store, self.view.desired, self.panel.owned_paths, diverged=self._diverged)
        sender = EngineSender(
            self.view, timeout_s=options.timeout_s, backoff=self._backoff(*_COMMIT_BACKOFF_S), metrics=self.metrics
        )
        values = ValueWriter(self.view, self.panel, compiler, sender)
        engine = EngineAccess(
            view=self.view,
            contact=Contact(self._random, self.metrics),
            panel=self.panel,
            compiler=compiler,
            sender=sender,
            values=values,
            earlier=EarlierLife(self.view, self.writer.desired, values),
        )
        recovery = EngineRecovery(
            engine,
            Refill(engine, self.writer, self.follow_ups, timeout_s=options.timeout_s),
            options=options,
            metrics=self.metrics,
        )
        return Committer(
            engine,
            recovery,
            self.scheduler,
            options=options,
            instruments=self.instruments,
            announcements=Announcements(self.panel, self.scheduler, endings, self.instruments),
        )

    def _updater(self, options: FetchOptions) -> DataUpdater:
        parts = self._parts
        fetches = FetchPool(parts.fetchers, parts.fetchers_by_scheme, options=options, metrics=self.metrics)
        return DataUpdater(
            self._parts.source,
            self.arrivals,
            self.follow_ups,
            self.reporting,
            fetches,
            limits=DataLimits.of(self._settings),
            instruments=self.instruments,
        )

    def _policy_updater(self, calls: SourceCalls, wanted: Bell) -> PolicyUpdater:
        return PolicyUpdater(
            calls,
            self.writer,
            PolicyDataFiles(self.writer.desired),
            self.transactions,
            self.reporting,
            wanted,
            instruments=self.instruments,
        )

    # What concerns two parts that do not know each other.

    def _policies_applied(self) -> None:
        self.committer.policies_changed()
        self.retries.policies_changed()

    def _diverged(self) -> None:
        self.metrics.count("desired_state.diverged")
        log.error("desired_state.diverged", why="an edit that the engine took does not apply to our copy")
