"""Entries that are not in force and may be one day: what to try again, when, and what is moot.

A pure state machine. A failed fetch is tried again with backoff; a refused write when policies change, for a policy may
have been in its way; a failed JSON patch never. Each of them is dropped when something newer that covers it lands.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

from cabochon.backoff import Backoff
from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.sync.rules.update import Entry

__all__ = ["Cause", "FailedEntry", "RetryBook"]

_Owner = TypeVar("_Owner")
_FAILED_AT_MOST = 10_000
_SAME_FETCH_AT_MOST = 1_000


class Cause(Enum):
    """Why an entry is not in force."""

    FETCH = auto()
    REFUSED = auto()
    PATCH = auto()


class FailedEntry(Generic[_Owner]):
    """An entry that failed; `origin` is the number of its first try, `owner` whom its follow-up concerns."""

    __slots__ = ("cause", "due_at", "entry", "origin", "owner", "path", "same_fetch", "tries", "trying")

    def __init__(self, entry: Entry, cause: Cause, origin: int, owner: _Owner) -> None:
        self.entry = entry
        self.path: DocumentPath = entry.path
        self.cause = cause
        self.origin = origin
        self.owner = owner
        self.tries = 1
        self.due_at: float | None = None
        self.trying: Entry | None = None
        """The entry of the try under way."""
        self.same_fetch: list[FailedEntry[_Owner]] = []
        """Older ones that fetch the same into the same place: a try of this one is a try of theirs."""

    @property
    def everyone(self) -> list[FailedEntry[_Owner]]:
        """This one, and those that land when it lands."""
        return [*self.same_fetch, self]


class RetryBook(Generic[_Owner]):
    """What failed, by path."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failed: PathIndex[FailedEntry[_Owner]] = PathIndex()

    def __len__(self) -> int:
        """How many entries are waiting."""
        return len(self._failed)

    def add(
        self, failed: FailedEntry[_Owner], now: float, *, retry_after_s: float | None = None
    ) -> list[FailedEntry[_Owner]]:
        """Enter a failed entry; return those that have to be given up for it, if the book is full.

        Nothing is moot because something newer has failed as well: it may never land. But an older entry that fetches
        the same into the same place goes along with the newer one.
        """
        if failed.cause is Cause.FETCH:
            failed.due_at = now + self._backoff.wait_s(failed.tries, at_least_s=retry_after_s)
            same = [old for old in self._failed.covered_by(failed.path) if _fetches_the_same(old, failed)]
            self._drop(same)
            for old in same:
                failed.same_fetch.extend(old.everyone)
                old.same_fetch = []
        self._failed.add(failed.path, failed)
        return self._given_up(failed)

    def _given_up(self, failed: FailedEntry[_Owner]) -> list[FailedEntry[_Owner]]:
        gone = failed.same_fetch[:-_SAME_FETCH_AT_MOST]
        del failed.same_fetch[:-_SAME_FETCH_AT_MOST]
        if len(self._failed) > _FAILED_AT_MOST:
            oldest = min(self._failed, key=_origin)
            self._drop([oldest])
            gone.append(oldest)
        return gone

    def failed_again(self, failed: FailedEntry[_Owner], now: float, *, retry_after_s: float | None = None) -> None:
        """Take note that another try of an entry failed."""
        failed.trying = None
        failed.tries += 1
        failed.due_at = now + self._backoff.wait_s(failed.tries, at_least_s=retry_after_s)

    def settled(self, failed: FailedEntry[_Owner]) -> None:
        """Take an entry out: it has landed."""
        self._failed.discard(failed.path, failed)

    def landed(self, path: DocumentPath, number: int) -> list[FailedEntry[_Owner]]:
        """Take out and return what a document as new as `number` at `path` makes moot."""
        if not self._failed:
            return []
        moot = [failed for failed in self._failed.covered_by(path) if failed.origin < number]
        self._drop(moot)
        return moot

    def due(self, now: float) -> list[FailedEntry[_Owner]]:
        """Return what is to be tried now, the oldest first."""
        return sorted(
            (f for f in self._failed if f.trying is None and f.due_at is not None and f.due_at <= now), key=_origin
        )

    def next_due_at(self) -> float | None:
        """When the next try is due; None if nothing waits for a time."""
        return min((f.due_at for f in self._failed if f.trying is None and f.due_at is not None), default=None)

    def policies_changed(self, now: float) -> None:
        """Make every refused write due."""
        for failed in self._failed:
            if failed.cause is Cause.REFUSED and failed.trying is None:
                failed.due_at = now

    def _drop(self, moot: Sequence[FailedEntry[_Owner]]) -> None:
        for failed in moot:
            self._failed.discard(failed.path, failed)


def _fetches_the_same(old: FailedEntry[_Owner], new: FailedEntry[_Owner]) -> bool:
    before, now = old.entry.spec, new.entry.spec
    return (
        old.cause is Cause.FETCH
        and old.trying is None
        and old.path == new.path
        and old.origin < new.origin
        and old.entry.replaces
        and new.entry.replaces
        and before is not None
        and now is not None
        and before.url == now.url
        and before.config == now.config
    )


def _origin(failed: FailedEntry[_Owner]) -> int:
    return failed.origin
