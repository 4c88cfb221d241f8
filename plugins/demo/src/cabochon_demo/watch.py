"""What the agent tells the demo: the health with each commit, and every transaction that ends."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cabochon import Change, TransactionListener
from cabochon.contract.tracing import EntryTrace, Tracer, UpdateTrace
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord
from cabochon_demo.board import Board, Ended, Lamps
from cabochon_demo.show import Show

__all__ = ["Watch"]

_SHORT = 8


class Watch(TransactionListener, Tracer):
    """Writes nothing; puts down what it hears.

    Attributes:
        ready_was: what each commit said of `ready`, in their order.
        updates: the data updates that have ended by their ids, each with the time of `time.monotonic`.
    """

    def __init__(self, board: Board, show: Show) -> None:
        self._board = board
        self._show = show
        self.ready_was: list[bool] = []
        self.updates: dict[str, tuple[float, UpdateTrace]] = {}

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        """Look at the log as it is about to be written."""
        del records
        self.ready_was.append(log.ready)
        self._board.light(Lamps.of(log))
        return ()

    def update_ended(self, trace: UpdateTrace) -> None:
        """Put down a data update that has ended."""
        now = time.monotonic()
        self.updates[trace.update_id] = (now, trace)
        self._show_end(
            Ended(
                number=trace.number,
                id=trace.update_id[:_SHORT] if trace.kind == "base" else trace.update_id,
                kind=trace.kind.replace("_", " "),
                what=", ".join(map(_what, trace.entries)),
                success=not trace.error,
                error=trace.error,
                at=now,
            )
        )

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        """Put down policies that have ended; of data updates the traces say more."""
        del log
        if record.transaction_type == "policy":
            self._show_end(
                Ended(
                    id=record.id[:_SHORT],
                    kind="policy",
                    what="policies",
                    success=record.success,
                    error=record.error,
                    at=time.monotonic(),
                )
            )

    def _show_end(self, ended: Ended) -> None:
        self._board.ended(ended)
        self._show.transaction(ended)


def _what(entry: EntryTrace) -> str:
    return f"{entry.save_method} {entry.dst_path}{' overtaken, dropped' if entry.moot else ''}"
