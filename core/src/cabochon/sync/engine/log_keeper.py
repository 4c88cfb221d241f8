"""The transaction log from one commit to the next: what changes it, and whether the engine holds it as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cabochon.documents.path import DocumentPath
from cabochon.sync.desired.put_off import PutOffWrite
from cabochon.sync.desired.state import DesiredState
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["LogKeeper", "NextLog"]


class NextLog(NamedTuple):
    """The log as it will be after a commit, and how many of the changes that wait are in it."""

    log: TransactionLog
    changes: int


class LogKeeper:
    """The one writer of the log. What is not restored stands in the desired state, and is copied from there.

    Attributes:
        now: the log as of the last commit.
    """

    def __init__(self, desired: DesiredState, log: TransactionLog) -> None:
        self._desired = desired
        self._changes: list[Callable[[TransactionLog], TransactionLog]] = []
        self.now = log
        self._outdated = False

    # ------------------------------------------------------------------------------------------- with the next commit

    @property
    def has_changes(self) -> bool:
        """Whether changes wait for the next commit."""
        return bool(self._changes)

    @property
    def wants_commit(self) -> bool:
        """Whether the log is to be written though there is no update to commit."""
        return self._outdated or bool(self._changes)

    def change_soon(self, change: Callable[[TransactionLog], TransactionLog]) -> None:
        """Change the log with the next commit."""
        self._changes.append(change)

    def write_again(self) -> None:
        """Write the log soon, though nothing is to be changed in it: the engine may hold another one."""
        self._outdated = True

    def after(self, records: Sequence[TransactionRecord], at: float) -> NextLog:
        """Return the log as it will be once these transactions have ended."""
        now = self._changed()
        return NextLog(now.after(records).with_heartbeat(at), len(self._changes))

    def landed(self, following: NextLog) -> None:
        """Take note that the engine holds this log."""
        self.put_off(following)
        self._outdated = False

    def put_off(self, following: NextLog) -> None:
        """Make this the log, though the engine does not hold it."""
        self.now = following.log
        # Those that came while the commit was in flight are for the next one.
        del self._changes[: following.changes]

    def put_off_changes(self) -> None:
        """Make the changes that wait, though the engine is away: it gets the log when it is back."""
        self.put_off(NextLog(self._changed(), len(self._changes)))

    def _changed(self) -> TransactionLog:
        now = self._now()
        for change in self._changes:
            now = change(now)
        return now

    # ------------------------------------------------------------------------------------ while the engine is filled

    def come_from_backup(self, *, policy: bool, data: bool, initial_paths: frozenset[DocumentPath]) -> None:
        """Start from a backup of a state which had these halves synced."""
        self.now = self.now.with_backup(policy=policy, data=data, initial_paths=initial_paths)

    def filling(self) -> None:
        """Take note that the engine does not hold what it should, for it is being filled."""
        self.now = self.now.with_engine(current=False)

    def refused_after_all(self, top: DocumentPath, reason: str, *, number: int) -> None:
        """Take note that the engine refuses what was put off at `top`; `number` is the origin of the newest of that."""
        self.now = self.now.with_refused(top, reason, number=number)

    def filled(self, put_off: Mapping[DocumentPath, PutOffWrite], *, alone: bool) -> None:
        """Take note that the engine holds what it should, these writes included; `alone`: and nothing left over."""
        replaced = {path: why.replaced_by for path, why in put_off.items() if why.replaced_by is not None}
        patched = {path: why.number for path, why in put_off.items()}
        newest = max((why.number for why in put_off.values()), default=0)
        self.now = self._now().with_restored(replaced, patched, newest=newest).with_engine(current=alone)

    def tried_to_restore(self) -> None:
        """Take note that what the engine had not taken back has been written once more."""
        self.now = self._now()

    def cleared(self) -> None:
        """Take note that what was left over in the engine is gone."""
        self.now = self._now().with_engine(current=True)

    def _now(self) -> TransactionLog:
        return self.now.with_not_restored(self._desired.not_restored)
