"""One commit that is being tried: nothing of it shows until it lands, nothing is left of it when it is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from cabochon.errors import StoreRejectedError
from cabochon.sync.desired.compiler import ChangeCompiler, weight_of
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.engine.listeners import ListenerPanel
from cabochon.sync.engine.log_keeper import LogKeeper, NextLog
from cabochon.sync.outcome.refusals import Refusals
from cabochon.sync.rules.commit_parts import Part
from cabochon.sync.rules.records import record_of
from cabochon.sync.rules.update import Entry, EntryState, Update
from cabochon.transactions.changes import Change, Write
from cabochon.transactions.records import TransactionRecord

__all__ = ["Attempt", "Attempts", "Ended", "Group", "PartWrite", "ended_with", "records_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that are to be one commit; `with_listeners` says that the listeners write beside them."""

    parts: list[Part]
    with_listeners: bool = True


class PartWrite(Struct, frozen=True, gc=False):
    """What a part writes; `authors[c]` is the entry of `write.changes[c]`."""

    part: Part
    write: Write
    authors: list[Entry]


class Ended(Struct, frozen=True, gc=False):
    """An update that ends, and its record: None for the data files of policies, which end with their policies."""

    update: Update
    record: TransactionRecord | None


def ended_with(parts: Sequence[Part], at: float) -> list[Ended]:
    """Return the updates that end with these parts, in order, as they are now."""
    return [Ended(part.update, record_of(part.update, at)) for part in parts if part.last]


def records_of(ended: Sequence[Ended]) -> list[TransactionRecord]:
    """Return the records that go into the log, in order."""
    return [one.record for one in ended if one.record is not None]


@dataclass(slots=True)
class Attempt:
    """Parts made into one commit.

    Attributes:
        parts: what it is about; their updates have not ended.
        with_listeners: whether the listeners write beside them.
        writes: of each part that changes something, what it writes.
        suspects: entries that do not apply to what others before them write: their records say so, and they are refused
            if the attempt lands.
        ended: the updates that end with it, as they will have ended.
        following: the log as it will be.
        state: what the listeners write, each change with its listener's name.
    """

    desired: DesiredState
    refusals: Refusals
    parts: list[Part]
    with_listeners: bool
    writes: list[PartWrite]
    suspects: dict[Entry, StoreRejectedError]
    ended: list[Ended]
    following: NextLog
    state: list[tuple[str, Change]]
    _open: bool = True

    @property
    def changes(self) -> list[Change]:
        """Every change of data in it."""
        return [change for one in self.writes for change in one.write.changes]

    @property
    def weight(self) -> int:
        """What its changes count towards `StoreTraits.max_changes`."""
        return sum(map(weight_of, self.changes))

    @property
    def records(self) -> list[TransactionRecord]:
        """The records of the updates that end with it."""
        return records_of(self.ended)

    def land(self) -> None:
        """Take note that all of it is in force."""
        self._acquit()
        for entry, error in self.suspects.items():
            self.refusals.refuse(entry, error)
        self.desired.settle()
        for part in self.parts:
            for entry in part.entries:
                if entry.state is EntryState.READY:
                    entry.save()

    def roll_back(self) -> None:
        """Take note that nothing of it is in force; what it made of the desired state since is taken back as well."""
        self.desired.rollback()
        self._acquit()

    def _acquit(self) -> None:
        if self._open:
            self._open = False
            for entry in self.suspects:
                entry.acquit()


class Attempts:
    """Makes attempts of groups, one at a time; the one before has landed or is rolled back by then."""

    def __init__(
        self,
        desired: DesiredState,
        compiler: ChangeCompiler,
        panel: ListenerPanel,
        keeper: LogKeeper,
        refusals: Refusals,
        wall: Callable[[], float],
    ) -> None:
        self._desired = desired
        self._compiler = compiler
        self._panel = panel
        self._keeper = keeper
        self._refusals = refusals
        self._wall = wall
        self._latest: Attempt | None = None

    async def begin(self, group: Group) -> Attempt:
        """Compile what is left to do of a group."""
        parts = [part for part in group.parts if not part.update.ended]
        suspects: dict[Entry, StoreRejectedError] = {}
        writes = [write for part in parts if (write := await self._compile(part, suspects)) is not None]
        ended_at = self._wall()
        ended = ended_with(parts, ended_at)
        records = records_of(ended)
        following = self._keeper.after(records, ended_at)
        state = self._panel.changes(records, following.log) if group.with_listeners else []
        self._latest = Attempt(
            self._desired, self._refusals, parts, group.with_listeners, writes, suspects, ended, following, state
        )
        return self._latest

    def roll_back(self) -> None:
        """Roll back whatever the latest attempt, or what followed it, has not settled."""
        if self._latest is not None:
            self._latest.roll_back()

    async def _compile(self, part: Part, suspects: dict[Entry, StoreRejectedError]) -> PartWrite | None:
        changes: list[Change] = []
        authors: list[Entry] = []
        for entry in part.entries:
            if entry.state is not EntryState.READY:
                continue
            try:
                compiled = await self._compiler.compile(entry)
            except StoreRejectedError as err:
                if self._desired.pending:
                    # Judged by writes that the engine has not taken yet: it counts once they have landed.
                    suspects[entry] = err
                    entry.refuse(err)
                else:
                    self._refusals.refuse(entry, err)
                continue
            changes.extend(compiled)
            authors.extend([entry] * len(compiled))
        return PartWrite(part, Write(part.update.id, tuple(changes)), authors) if changes else None
