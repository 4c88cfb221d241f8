"""What the agent tells the demo: the health with each commit, and every transaction that ends."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cabochon import Change, TransactionListener
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord
from cabochon_demo.board import Board, Ended, Lamps
from cabochon_demo.show import Show

__all__ = ["Watch"]

_SHORT = 8


class Watch(TransactionListener):
    """Writes nothing; puts down what it hears.

    Attributes:
        ready_was: what each commit said of `ready`, in their order.
        records: the records of the updates that have ended by their ids, each with the time of `time.monotonic`.
    """

    def __init__(self, board: Board, show: Show) -> None:
        self._board = board
        self._show = show
        self.ready_was: list[bool] = []
        self.records: dict[str, tuple[float, TransactionRecord]] = {}

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        """Look at the log as it is about to be written."""
        del records
        self.ready_was.append(log.ready)
        self._board.light(Lamps.of(log))
        return ()

    def observe(self, update: Update, record: TransactionRecord) -> None:
        """Put down an update that has ended."""
        now = time.monotonic()
        self.records[record.id] = (now, record)
        made_up = record.transaction_type == "policy" or update.kind is Kind.BASE
        ended = Ended(
            number=update.number,
            id=record.id[:_SHORT] if made_up else record.id,
            kind="policy" if record.transaction_type == "policy" else update.kind.name.lower().replace("_", " "),
            what=", ".join(map(_what, update.entries)) or "policies",
            success=record.success,
            error=record.error,
            at=now,
        )
        self._board.ended(ended)
        self._show.transaction(ended)


def _what(entry: Entry) -> str:
    overtaken = " overtaken, dropped" if entry.state is EntryState.MOOT else ""
    return f"{entry.method} {entry.path}{overtaken}"
