"""What follows when an update has ended: its log line, room for another one, and whoever waits for its end."""

from __future__ import annotations

import anyio
import structlog

from cabochon.contract.metrics import Metrics
from cabochon.sync.outcome.follow_ups import FollowUps
from cabochon.sync.outcome.under_way import UnderWay
from cabochon.sync.rules.update import Update
from cabochon.transactions.records import TransactionRecord

__all__ = ["Caller", "Endings"]

log = structlog.get_logger()


class Caller:
    """Someone who waits for the end of an update; `record` is there once `wait` returns."""

    __slots__ = ("_ended", "record")

    def __init__(self) -> None:
        self._ended = anyio.Event()
        self.record: TransactionRecord | None = None

    def ended(self, _update: Update, record: TransactionRecord | None) -> None:
        """Let the caller go on."""
        self.record = record
        self._ended.set()

    async def wait(self) -> None:
        """Wait until the update has ended."""
        await self._ended.wait()


class Endings:
    """Told by the committer, synchronously, of every update that ends; never waits."""

    def __init__(self, follow_ups: FollowUps, under_way: UnderWay, metrics: Metrics) -> None:
        self._follow_ups = follow_ups
        self._under_way = under_way
        self._metrics = metrics
        metrics.gauge("updates.under_way", lambda: under_way.updates)
        metrics.gauge("updates.waiting_for_retry", lambda: len(follow_ups.book))

    def ended(self, update: Update, record: TransactionRecord | None) -> None:
        """Deal with the end of `update`."""
        self._under_way.ended(update)
        if record is not None:
            self._tell(update, record)
        self._follow_ups.settle_older(update)
        if update.ending is not None:
            update.ending.ended(update, record)
        if record is not None and record.success:
            # An update and its entries point at each other: apart, their memory is free at once.
            update.entries = []

    def _tell(self, update: Update, record: TransactionRecord) -> None:
        self._metrics.observe("transactions.duration", max(0.0, record.ended_at - record.created_at))
        if record.success:
            self._metrics.count("transactions.succeeded")
            log.info(
                "transaction.ended", update_id=record.id, number=record.number, actions=record.actions, success=True
            )
        else:
            self._metrics.count("transactions.failed")
            log.warning(
                "transaction.ended",
                update_id=record.id,
                number=record.number,
                actions=record.actions,
                success=False,
                type=record.transaction_type,
                kind=update.kind.name.lower(),
                error=record.error,
            )
