"""Tell everybody who has to know that updates have ended: listeners, scheduler, tracers, and whoever waits for them."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from cabochon.sync.engine.attempt import Ended, records_of
from cabochon.sync.engine.listeners import ListenerPanel
from cabochon.sync.outcome.endings import Endings
from cabochon.sync.outcome.instruments import Instruments
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Kind
from cabochon.transactions.log import TransactionLog

__all__ = ["Announcements"]

log = structlog.get_logger()


class Announcements:
    """Told by the committer, synchronously; never waits."""

    def __init__(
        self,
        panel: ListenerPanel,
        scheduler: Scheduler,
        endings: Endings,
        instruments: Instruments,
    ) -> None:
        self._panel = panel
        self._taken_at = 0.0
        self._scheduler = scheduler
        self._instruments = instruments
        self._endings = endings

    def taken(self) -> None:
        """Take note that the updates which end next are taken from the queue."""
        self._taken_at = self._instruments.wall()

    def landed(self, ended: Sequence[Ended], now: TransactionLog, version: str | None = None) -> None:
        """Take note of a commit that has landed, and of the updates that have ended with it."""
        self._instruments.metrics.count("commits")
        self.ended(ended, now)
        if version is not None:
            log.debug("commit.landed", version=version)

    def ended(self, ended: Sequence[Ended], now: TransactionLog) -> None:
        """Take note of updates that have ended, in order; `now` is the log after that."""
        records = records_of(ended)
        self._panel.ended(records, now)
        traces = self._instruments.traces
        traced = traces.wanted
        for one in ended:
            update, record = one.update, one.record
            update.ended = True
            self._scheduler.ended(update)
            if traced and record is not None and update.kind is not Kind.RECORD:
                traces.update_ended(update, record.error, taken_at=self._taken_at, group_size=len(records))
            self._endings.ended(update, record)
