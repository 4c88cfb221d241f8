"""One sync: run in one task group, asked, stopped. What it is made of stands in `assembly`."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import anyio
import anyio.abc
import structlog

from cabochon.contract.metrics import Metrics
from cabochon.settings.core import CoreSettings
from cabochon.sync.assembly import Assembly, PipelineParts
from cabochon.sync.intake.transactional_store import TransactionalStore
from cabochon.transactions.log import TransactionLog

__all__ = ["Pipeline", "PipelineParts"]

log = structlog.get_logger()

_LAST_COMMIT_S = 5.0
_LAST_REPORTS_S = 3.0


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
        random = random if random is not None else Random()  # noqa: S311 - jitter, no secret
        self._sync = sync = Assembly(parts, settings, self.metrics, random=random, wall=wall)
        self.traces = sync.traces
        self.register = sync.register
        self.connectivity = sync.connectivity
        self.reporting = sync.reporting
        self.under_way = sync.under_way
        self.policy_store = TransactionalStore(sync.transactions)
        self._backup = parts.backup
        self._data_enabled = settings.data_updater_enabled
        self._policies_enabled = settings.policy_updater_enabled and parts.source.has_policies
        self._stop = anyio.Event()

    # ----------------------------------------------------------------------------------------------- from outside

    @property
    def log(self) -> TransactionLog:
        """The transaction log as of the last commit."""
        return self._sync.view.log.now

    def log_now(self) -> TransactionLog:
        """Return the log as it is now: an engine that does not answer holds nothing for anyone."""
        return self.log.with_engine(current=False) if self._sync.committer.engine_away else self.log

    def stop(self) -> None:
        """Take nothing in any more, finish, and end `run`."""
        self._stop.set()

    async def stopping(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()

    async def source_ended(self) -> None:
        """Wait until the source has nothing more to give and everything it gave has ended."""
        await self._sync.follower.ended()
        await self.under_way.idle()

    async def refresh_data(self) -> None:
        """Load the base data again, as new arrivals; `SourceError` if the list can't be had."""
        await self._sync.base_data.refresh()

    async def refresh_policies(self) -> None:
        """Ask the source for all policies again."""
        self._sync.policies.request(full=True)

    # --------------------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the engine in sync until `stop`."""
        sync = self._sync
        async with anyio.create_task_group() as background:
            background.start_soon(sync.panel.run)
            background.start_soon(sync.reporting.run)
            committing = anyio.Event()
            background.start_soon(self._run_committer, committing)
            if self._backup is not None:
                background.start_soon(self._backup.run, sync.view, self.metrics)
            async with anyio.create_task_group() as intake:
                await intake.start(sync.updater.run)
                await intake.start(sync.base_data.run)
                if self._data_enabled:
                    intake.start_soon(sync.updater.acknowledge)
                    intake.start_soon(sync.retries.run)
                if self._policies_enabled:
                    intake.start_soon(sync.policies.run)
                intake.start_soon(sync.follower.run)
                task_status.started()
                await self._stop.wait()
                intake.cancel_scope.cancel()
            await self._finish(committing)
            background.cancel_scope.cancel()

    async def _run_committer(self, ended: anyio.Event) -> None:
        try:
            await self._sync.committer.run()
        finally:
            ended.set()

    async def _finish(self, committing: anyio.Event) -> None:
        self._sync.committer.stop()
        with anyio.move_on_after(_LAST_COMMIT_S):
            await committing.wait()
        if self._backup is not None:
            await self._backup.finish(self._sync.view, self.metrics)
        await self.reporting.drain(within_s=_LAST_REPORTS_S)
        if self.under_way.updates:
            log.warning("updates.dropped", count=self.under_way.updates, why="the agent stops")
