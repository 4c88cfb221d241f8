"""Updates, their entries, and how far each entry has come."""

from __future__ import annotations

import heapq
from enum import Enum, auto
from typing import Literal, Protocol

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError
from cabochon.schemas import DataSourceEntry
from cabochon.transactions.records import TransactionRecord

__all__ = ["Ending", "Entry", "EntryState", "Kind", "Method", "Update"]


Method = Literal["PUT", "PATCH", "DELETE"]


class Kind(Enum):
    """Why an update is there, which decides how it is logged and reported."""

    LIVE = auto()
    BASE = auto()
    PERIODIC = auto()
    RETRY = auto()
    """A failed entry tried again: older than whatever came after its first try, and dropped once that has landed."""
    CALLER = auto()
    """A transaction of a plugin or a service."""
    POLICY_DATA = auto()
    """The data files of a policy bundle: part of a policy transaction."""
    RECORD = auto()
    """Nothing to write, only a record for the log."""


class EntryState(Enum):
    """How far an entry has come."""

    FETCHING = auto()
    """Its data is still to come."""
    READY = auto()
    """Its data is there, and it may be written."""
    SAVED = auto()
    """It is in the engine."""
    PUT_OFF = auto()
    """The engine is away: it is in the desired state, to be written when the engine is back."""
    FETCH_FAILED = auto()
    """Its data can't be had now."""
    REFUSED = auto()
    """The engine does not take it, or it could not be used from the start."""
    MOOT = auto()
    """Something newer that covers it has landed."""

    # By identity: the usual one hashes the name, in Python, for each look-up.
    __hash__ = object.__hash__


_NEXT = {
    EntryState.FETCHING: {EntryState.READY, EntryState.FETCH_FAILED, EntryState.REFUSED, EntryState.MOOT},
    EntryState.READY: {EntryState.SAVED, EntryState.PUT_OFF, EntryState.REFUSED, EntryState.MOOT},
    EntryState.SAVED: set[EntryState](),
    EntryState.PUT_OFF: {EntryState.REFUSED},
    # Refused though it failed before: with what its own update put off in its place, once the engine is back.
    EntryState.FETCH_FAILED: {EntryState.MOOT, EntryState.REFUSED},
    # Ready again: what it was judged by has not landed itself.
    EntryState.REFUSED: {EntryState.MOOT, EntryState.READY, EntryState.REFUSED},
    EntryState.MOOT: set[EntryState](),
}
"""What an entry may become, by what it is."""

_ALIVE = frozenset({EntryState.FETCHING, EntryState.READY})
_LANDING = frozenset({EntryState.READY, EntryState.SAVED})
_WANTED = frozenset({EntryState.READY, EntryState.SAVED, EntryState.PUT_OFF})
_IN_FORCE = frozenset({EntryState.SAVED, EntryState.MOOT})
_DONE = frozenset({EntryState.SAVED, EntryState.PUT_OFF})
_SETTLED = frozenset({EntryState.SAVED, EntryState.PUT_OFF, EntryState.MOOT})
_TRIED = frozenset({EntryState.SAVED, EntryState.PUT_OFF, EntryState.REFUSED})
_FEW = 16
"""Entries of one update among which it is quicker to look than to keep an index."""
_FAILED = frozenset({EntryState.FETCH_FAILED, EntryState.REFUSED, EntryState.PUT_OFF})


class Entry:
    """One write of an update: `raw` is its JSON once that is there, `operations` the same as a patch for a PATCH.

    Its `state` changes by its own methods alone; each raises `RuntimeError` where an entry can't become that.
    """

    __slots__ = (
        "error",
        "fetch_times",
        "fetched",
        "index",
        "method",
        "operations",
        "path",
        "raw",
        "spec",
        "state",
        "update",
        "waiters",
    )

    def __init__(self, path: DocumentPath, method: Method, spec: DataSourceEntry | None = None) -> None:
        self.update: Update = _NOWHERE
        self.index = 0
        self.path = path
        self.method: Method = method
        self.spec = spec
        self.raw: bytes | None = None
        self.operations: tuple[PatchOperation, ...] = ()
        self.state = EntryState.FETCHING
        """How far it has come. A plain attribute, for it is asked for a dozen times; only the methods below set it."""
        self.error: Exception | None = None
        self.fetched = False
        self.fetch_times: tuple[float, float] | None = None
        """When its fetch began and ended, tries included, in seconds since the epoch."""
        self.waiters: list[Entry] | None = None
        """Newer entries that wait until this one is out of their way."""

    # ---------------------------------------------------------------------------------------------- what becomes of it

    def ready(self, raw: bytes | None, operations: tuple[PatchOperation, ...] = ()) -> Entry:
        """Take note that the data is there."""
        self._become(EntryState.READY)
        self.raw, self.operations = raw, operations
        self.fetched = True
        return self

    def fetch_failed(self, error: Exception) -> None:
        """Take note that the data can't be had now."""
        self._become(EntryState.FETCH_FAILED)
        self.error = _without_frames(error)

    def fetch_missed(self, error: Exception) -> None:
        """Take note, of one that is moot, that its data could not be had: its report says so, and it is no failure."""
        self.error = _without_frames(error)

    @property
    def failure(self) -> Exception | None:
        """Why it is not in force; None if it is, or something newer is in its place."""
        return None if self.state is EntryState.MOOT else self.error

    def save(self) -> None:
        """Take note that it is in the engine."""
        self._become(EntryState.SAVED)

    def put_off(self, why: Exception) -> None:
        """Take note that it is wanted, and to be written once the engine is back."""
        self._become(EntryState.PUT_OFF)
        self.error = _without_frames(why)

    def refuse(self, error: Exception) -> None:
        """Take note that it can't be written."""
        self._become(EntryState.REFUSED)
        self.error = _without_frames(error)

    def acquit(self) -> None:
        """Take a refusal back: what it was judged by has not landed itself."""
        self._become(EntryState.READY)
        self.error = None

    def become_moot(self) -> None:
        """Take note that something newer that covers it has landed."""
        self._become(EntryState.MOOT)

    def _become(self, state: EntryState) -> None:
        if state not in _NEXT[self.state]:
            msg = f"an entry that is {self.state.name} can't become {state.name}: {self.path}"
            raise RuntimeError(msg)
        self.state = state
        if state in _WANTED:
            self.update.wants(self)

    # ---------------------------------------------------------------------------------------------- how far it is

    @property
    def alive(self) -> bool:
        """Whether it may still change the engine."""
        return self.state in _ALIVE

    @property
    def landing(self) -> bool:
        """Whether it is in the engine, or in what is being written."""
        return self.state in _LANDING

    @property
    def done(self) -> bool:
        """Whether what it was to write is in the engine, or will be once that is back."""
        return self.state in _DONE

    @property
    def settled(self) -> bool:
        """Whether nothing older counts at its path any more: it is done, or something newer is."""
        return self.state in _SETTLED

    @property
    def tried(self) -> bool:
        """Whether it was to be written."""
        return self.state in _TRIED

    @property
    def replaces(self) -> bool:
        """Whether it leaves nothing of what was at its path."""
        return self.method != "PATCH"

    @property
    def can_be_moot(self) -> bool:
        """Whether something newer can make it moot: not one that could not be used from the start."""
        if self.state is EntryState.REFUSED:
            return not isinstance(self.error, DocumentPathError)
        return self.alive or self.state is EntryState.FETCH_FAILED

    @property
    def covered_by(self) -> Entry | None:
        """The later entry of the same update, if any, that has replaced what this one was to write."""
        return self.update.cover_of(self)

    @property
    def is_missing(self) -> bool:
        """Whether the engine lacks something at its path that it was to write."""
        if self.state not in _FAILED or isinstance(self.error, DocumentPathError):
            return False
        return self.covered_by is None

    @property
    def saved_for_its_publisher(self) -> bool:
        """Whether it is in force, or something that covers it is: newer, or later in its own update."""
        if self.state in _IN_FORCE:
            return True
        cover = None if self.state is EntryState.PUT_OFF else self.covered_by
        return cover is not None and cover.state is EntryState.SAVED


class Ending(Protocol):
    """Who wants to hear of an update's end; what it does must not wait, and may not raise."""

    def ended(self, update: Update, record: TransactionRecord | None, /) -> None:
        """Hear of it; there is no record of the data files of a policy bundle."""
        ...


# size: what each of the scheduler's rules looks at, in one object, for thousands of them are walked at a time
class Update:
    """Entries that take effect together, or, without entries, only a `record` for the log."""

    __slots__ = (
        "_wanted",
        "arrived_at",
        "blocked",
        "deadline",
        "ended",
        "ending",
        "entries",
        "id",
        "kind",
        "number",
        "origin",
        "queued",
        "record",
        "size_bytes",
        "source",
        "waiting",
    )

    def __init__(
        self,
        id: str,  # noqa: A002
        entries: list[Entry],
        kind: Kind = Kind.LIVE,
        *,
        ending: Ending | None = None,
        record: TransactionRecord | None = None,
    ) -> None:
        self.number = 0
        self.origin = 0
        """The number that decides what is newer: the first try's for a retry, else the update's own."""
        self.id = id
        self.kind = kind
        self.entries = entries
        self.ending = ending
        self.record = record
        self.source: int | None = None
        self.size_bytes = 0
        self.arrived_at = 0.0
        self.ended = False
        self.deadline = 0.0
        self.waiting = 0
        """Entries still being fetched, plus newer updates on their way to the engine that may make an entry moot."""
        self.blocked = 0
        """Entries that wait for older ones of other updates."""
        self.queued = False
        self._wanted: dict[DocumentPath, list[int]] | None = {} if len(entries) > _FEW else None
        """Of many entries, those that replace what is at a path, the last one first; some may be wanted no more."""
        for index, entry in enumerate(entries):
            entry.update = self
            entry.index = index
            if entry.state in _WANTED:
                self.wants(entry)

    def wants(self, entry: Entry) -> None:
        """Take note that an entry will be in the engine, or is."""
        if self._wanted is not None and entry.replaces:
            heapq.heappush(self._wanted.setdefault(entry.path, []), -entry.index)

    def cover_of(self, entry: Entry) -> Entry | None:
        """Return a later entry, if there is one, that has replaced what `entry` was to write."""
        if self._wanted is None or not self.entries:
            for later in self.entries[entry.index + 1 :]:
                if later.replaces and later.state in _WANTED and later.path.covers(entry.path):
                    return later
            return None
        for depth in range(len(entry.path) + 1):
            wanted = self._wanted.get(DocumentPath(entry.path[:depth]))
            while wanted and self.entries[-wanted[0]].state not in _WANTED:
                heapq.heappop(wanted)
            if wanted and -wanted[0] > entry.index:
                return self.entries[-wanted[0]]
        return None


_NOWHERE = Update("", [])


def _without_frames(error: Exception) -> Exception:
    """Let go of what the code held that raised an error, a body of a hundred megabytes perhaps: the error is kept."""
    one: BaseException | None = error
    while one is not None and one.__traceback__ is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error
