"""Tries again what failed, when the retry book says that it is due."""

from __future__ import annotations

import math

import anyio
import structlog

from cabochon.sync.intake.connectivity import Connectivity
from cabochon.sync.intake.data_updater import DataUpdater
from cabochon.sync.outcome.follow_ups import FollowUps, Reported, Retry
from cabochon.sync.rules.retry_book import FailedEntry
from cabochon.sync.rules.update import Kind, Update

__all__ = ["Retries"]

log = structlog.get_logger()

_LONGEST_DEADLINES = 6


class Retries:
    """One for each agent; each try is a new arrival."""

    def __init__(self, updater: DataUpdater, follow_ups: FollowUps, connectivity: Connectivity) -> None:
        self._updater = updater
        self._follow_ups = follow_ups
        self._book = follow_ups.book
        self._changed = follow_ups.retries
        self._connectivity = connectivity

    def policies_changed(self) -> None:
        """Try refused writes again: a policy may have been in their way."""
        self._book.policies_changed(anyio.current_time())
        self._changed.ring()

    async def run(self) -> None:
        """Try failed entries again when they are due, until cancelled."""
        while True:
            await self._connectivity.enabled()
            now = anyio.current_time()
            for failed in self._book.due(now):
                self._try_again(failed)
            due_at = self._book.next_due_at()
            await self._changed.answered(within_s=math.inf if due_at is None else max(0.0, due_at - now))

    def _try_again(self, failed: FailedEntry[Reported]) -> None:
        spec = failed.entry.spec
        if spec is None:
            return
        entry = self._updater.entry(spec)
        failed.trying = entry
        update = Update(failed.owner.update_id, [entry], Kind.RETRY, ending=Retry(self._follow_ups, failed))
        update.origin = failed.origin
        update.source = failed.entry.update.source
        log.info("data_update.retried", update_id=update.id, dst_path=spec.dst_path, attempt=failed.tries + 1)
        self._updater.submit(update, deadlines=min(failed.tries + 1, _LONGEST_DEADLINES))
