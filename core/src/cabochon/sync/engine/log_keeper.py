"""The transaction log from one commit to the next: what changes it, and whether the engine holds it as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cabochon.sync.engine.view import EngineView
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["LogKeeper", "NextLog"]


class NextLog(NamedTuple):
    """The log as it will be after a commit, and how many of the changes that wait are in it."""

    log: TransactionLog
    changes: int


class LogKeeper:
    """Works out the next log, and makes it the log once its commit has landed."""

    def __init__(self, view: EngineView) -> None:
        self._view = view
        self._changes: list[Callable[[TransactionLog], TransactionLog]] = []
        self.outdated = False
        """Whether the engine may hold another log than this one, though nothing is to be changed in it."""

    @property
    def has_changes(self) -> bool:
        """Whether changes wait for the next commit."""
        return bool(self._changes)

    @property
    def wants_commit(self) -> bool:
        """Whether the log is to be written though there is no update to commit."""
        return self.outdated or bool(self._changes)

    def change_soon(self, change: Callable[[TransactionLog], TransactionLog]) -> None:
        """Change the log with the next commit."""
        self._changes.append(change)

    def after(self, records: Sequence[TransactionRecord], at: float) -> NextLog:
        """Return the log as it will be once these transactions have ended."""
        now = self._changed()
        return NextLog(now.after(records).with_heartbeat(at), len(self._changes))

    def landed(self, following: NextLog) -> None:
        """Take note that the engine holds this log."""
        self.put_off(following)
        self.outdated = False

    def put_off(self, following: NextLog) -> None:
        """Make this the log, though the engine does not hold it."""
        self._view.log = following.log
        # Those that came while the commit was in flight are for the next one.
        del self._changes[: following.changes]

    def put_off_changes(self) -> None:
        """Make the changes that wait, though the engine is away: it gets the log when it is back."""
        self.put_off(NextLog(self._changed(), len(self._changes)))

    def _changed(self) -> TransactionLog:
        now = self._view.log.with_withheld(self._view.desired.withheld)
        for change in self._changes:
            now = change(now)
        return now
