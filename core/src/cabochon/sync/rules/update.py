"""Updates, their entries, and how far each entry has come."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Literal, TypeAlias

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.schemas import DataSourceEntry

__all__ = ["Entry", "EntryState", "Kind", "Method", "Update"]


Method = Literal["PUT", "PATCH", "DELETE"]


Context: TypeAlias = Any


"""Whatever the creator of an update wants to find again at its end."""


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
    READY = auto()
    SUPERSEDED = auto()
    """A newer write that covers it has landed."""
    SAVED = auto()
    FETCH_FAILED = auto()
    REFUSED = auto()
    DEFERRED = auto()
    """The engine is away: kept in the desired state, to be written when it is back."""


class Entry:
    """One write of an update: `raw` is its JSON once that is there, `operations` the same as a patch for a PATCH."""

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
        self.error: Exception | None = None
        self.fetched = False
        self.fetch_times: tuple[float, float] | None = None
        """When its fetch began and ended, tries included, in seconds since the epoch."""
        self.waiters: list[Update] | None = None
        """Newer updates that wait until this entry is out of their way."""

    def ready(self, raw: bytes | None, operations: tuple[PatchOperation, ...] = ()) -> Entry:
        """Take note that the data is there."""
        self.raw, self.operations = raw, operations
        self.fetched = True
        self.state = EntryState.READY
        return self

    @property
    def alive(self) -> bool:
        """Whether it may still change the engine."""
        return self.state in {EntryState.FETCHING, EntryState.READY}

    @property
    def replaces(self) -> bool:
        """Whether it leaves nothing of what was at its path."""
        return self.method != "PATCH"


class Update:
    """Entries that take effect together."""

    __slots__ = (
        "arrived_at",
        "blockers",
        "context",
        "deadline",
        "ended",
        "entries",
        "id",
        "kind",
        "number",
        "origin",
        "queued",
        "size_bytes",
        "source",
        "waiting",
    )

    def __init__(self, id: str, entries: list[Entry], kind: Kind = Kind.LIVE, *, context: Context = None) -> None:  # noqa: A002
        self.number = 0
        self.origin = 0
        """The number that decides what is newer: the first try's for a retry, else the update's own."""
        self.id = id
        self.kind = kind
        self.entries = entries
        self.context = context
        """What its creator wants to find again at its end."""
        self.source: int | None = None
        self.size_bytes = 0
        self.arrived_at = 0.0
        self.ended = False
        self.deadline = 0.0
        self.waiting = 0
        """Entries still being fetched, plus newer updates on their way to the engine that may make an entry moot."""
        self.blockers: set[Entry] | None = None
        self.queued = False
        for index, entry in enumerate(entries):
            entry.update = self
            entry.index = index


_NOWHERE = Update("", [])
