"""The backbone of servers: a durable, numbered log of everything published, shared by all servers of one fleet.

A publish is appended before it is acknowledged, and every server follows the log to pass on what came, from its own
publishers and from its siblings' alike. Numbers are given without holes, so that an agent says in one number what it
has, and any server can tell what it missed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["Backbone", "BackboneType", "Bounds", "LogRecord", "NewRecord", "Retention"]


class NewRecord(Struct, frozen=True, gc=False):
    """What is to be appended.

    Attributes:
        kind: what it is, such as "data" or "policy".
        topics: who is meant.
        body: the JSON that is sent on, in UTF-8.
    """

    kind: str
    topics: tuple[str, ...]
    body: bytes


class LogRecord(Struct, frozen=True, gc=False):
    """What was appended.

    Attributes:
        number: its place in the log, from 1.
        kind: as it was given.
        topics: as they were given.
        body: byte for byte as it was given.
        appended_at: Unix seconds.
    """

    number: int
    kind: str
    topics: tuple[str, ...]
    body: bytes
    appended_at: float


class Bounds(Struct, frozen=True, gc=False):
    """How far a log reaches.

    Whoever has everything up to `after`, and `after >= floor`, can be given exactly what it missed. Compaction does not
    raise the floor.

    Attributes:
        floor: the highest number that retention removed, 0 if none.
        head: the last number that was given, 0 if none.
    """

    floor: int
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much of a log is kept.

    Attributes:
        max_age_s: seconds; older records go. None for no limit.
        max_bytes: the oldest records go until the log takes no more room than this, as the backbone counts room. None
            for no limit.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None


class Backbone(ABC):
    """The log, open; what the server needs of it and nothing else.

    Every method may be called by many tasks at the same time. One that is cancelled may have done its work all the
    same. Each raises `BackboneError` when the backbone can't be reached or can't write, and calling again is safe, but
    an `append` that raised may have been written.
    """

    log_id: str
    """The identity of the log, kept in it: numbers of a log with another identity mean nothing here.

    It changes only if somebody wipes the backbone, or if the backbone has lost records that it had given, as after a
    failover: the call that finds out raises `LogReplacedError`, and so does each `follow` that was begun before. Later
    calls are about the new log.
    """

    @abstractmethod
    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Append the records together; durable when it returns, with their numbers, consecutive and in order.

        Raises:
            BackboneError: none of them was written, or it is not known whether all were.
        """

    @abstractmethod
    async def bounds(self) -> Bounds:
        """Return how far the log reaches, as of now."""

    @abstractmethod
    async def read(self, after: int, *, limit: int) -> Sequence[LogRecord]:
        """Return up to `limit` records with numbers above `after`, ascending; none if there are none.

        The next page begins after the last number of this one. The pages together leave out compacted records only.

        Raises:
            LogTrimmedError: `after` is below the floor: retention has removed records that belong here.
        """

    @abstractmethod
    def follow(self, after: int) -> AsyncGenerator[Sequence[LogRecord]]:
        """Give what came after that number, then what comes, in batches: in order, none missed, none twice.

        It ends only when it is closed. Records that are compacted meanwhile may be left out.

        Raises:
            BackboneError: the backbone is lost; follow again, after the last number that came.
            LogReplacedError: the log was wiped, or ends before `after`; follow again, from the new one's beginning.
            LogTrimmedError: retention has removed records that would have come next.
        """

    @abstractmethod
    async def compact(self, superseded: Mapping[int, int]) -> None:
        """Remove records which later ones make needless, and note which: number to the number that supersedes it.

        Numbers that are gone already are passed over. The last record of the log is never among them.
        """

    @abstractmethod
    async def superseded(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Return which of these `compact` removed, with what supersedes each, until retention passes them."""

    @abstractmethod
    async def trim(self, limits: Retention) -> Bounds:
        """Remove the oldest records beyond the limits, and raise the floor; return how far the log reaches now.

        It works in small bites: nobody else waits for long.
        """

    @abstractmethod
    async def save_documents(self, documents: Mapping[str, bytes]) -> None:
        """Keep these documents by name, each in place of the one that was there: the last write wins."""

    @abstractmethod
    async def documents(self) -> Mapping[str, bytes]:
        """Return all documents by name."""

    @abstractmethod
    async def forget_documents(self, names: Collection[str]) -> None:
        """Drop the documents with these names; those that are not there are passed over."""

    def problems(self) -> Sequence[str]:
        """Say what an operator should know of it, in words for everyone: it stands in the server's health."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneType:
    """Offer a backbone.

    Attributes:
        name: unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and the URL that chose it, and gives an async context manager
            that yields a `Backbone`. It waits for the backbone no longer than a start may take, and raises
            `ConfigurationError` for what the operator must put right, else `BackboneError`.
        schemes: the schemes of `OPAL_BROADCAST_URI` that choose it, such as `("redis", "rediss")`.
        settings: the backbone's settings model.
    """

    name: str
    summary: str
    open: Callable[[Any, str], AbstractAsyncContextManager[Backbone]]
    schemes: tuple[str, ...]
    settings: type[BaseSettings] | None = None
