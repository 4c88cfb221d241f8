"""Tries again what failed, when the retry book says that it is due: so much at a time, and shared out among hosts."""

from __future__ import annotations

import math

import anyio
import structlog

from cabochon.sync.intake.connectivity import Connectivity
from cabochon.sync.intake.data_updater import DataUpdater
from cabochon.sync.outcome.follow_ups import FollowUps, Reported
from cabochon.sync.rules.failure_budget import FailureBudget
from cabochon.sync.rules.host_shares import Shares
from cabochon.sync.rules.retry_book import FailedEntry
from cabochon.sync.rules.update import EntryState, Kind, Update
from cabochon.transactions.records import TransactionRecord
from cabochon.urls import host_of

__all__ = ["Retries"]

log = structlog.get_logger()

_LONGEST_DEADLINES = 6


class Retries:
    """One for each agent; each try is a new arrival."""

    def __init__(
        self,
        updater: DataUpdater,
        follow_ups: FollowUps,
        connectivity: Connectivity,
        *,
        side_by_side: int,
        budget: FailureBudget,
    ) -> None:
        self._updater = updater
        self._follow_ups = follow_ups
        self._shares: Shares[FailedEntry[Reported]] = Shares(side_by_side)
        self._budget = budget
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
                self._shares.add(host_of(failed.entry.spec.url if failed.entry.spec else ""), failed)
            within_s = self._begin(now)
            due_at = self._book.next_due_at()
            if due_at is not None:
                within_s = min(within_s, max(0.0, due_at - now))
            await self._changed.answered(within_s=within_s)

    def ended(self, failed: FailedEntry[Reported], update: Update) -> None:
        """Take note of how another try went, and make room for the next one."""
        entry = update.entries[0]
        self._shares.done(failed, well=entry.state is not EntryState.FETCH_FAILED)
        self._follow_ups.tried_again(entry, failed)
        self._changed.ring()

    def _begin(self, now: float) -> float:
        """Begin what may be tried now; return the seconds after which there may be more though nothing has ended."""
        while self._shares:
            within_s = self._budget.has_one_in_s(now)
            if within_s:
                return within_s
            failed = self._shares.take()
            if failed is None:
                break
            if failed.kept and failed.trying is None:
                self._try_again(failed)
            else:
                self._shares.done(failed, well=None)
        return math.inf

    def _try_again(self, failed: FailedEntry[Reported]) -> None:
        spec = failed.entry.spec
        if spec is None:
            self._shares.done(failed, well=None)
            return
        entry = self._updater.entry(spec)
        failed.trying = entry
        update = Update(failed.owner.update_id, [entry], Kind.RETRY, ending=_Try(self, failed))
        update.origin = failed.origin
        update.source = failed.entry.update.source
        log.info("data_update.retried", update_id=update.id, dst_path=spec.dst_path, attempt=failed.tries + 1)
        self._updater.submit(update, deadlines=min(failed.tries + 1, _LONGEST_DEADLINES))


class _Try:
    """What follows when another try of a failed entry has ended."""

    __slots__ = ("_failed", "_retries")

    def __init__(self, retries: Retries, failed: FailedEntry[Reported]) -> None:
        self._retries = retries
        self._failed = failed

    def ended(self, update: Update, record: TransactionRecord | None) -> None:  # noqa: ARG002 - as any ending
        """Take note of how it went."""
        self._retries.ended(self._failed, update)
