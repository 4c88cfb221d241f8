"""Entries that are not in force and may be one day: what to try again, when, and what is moot.

A pure state machine. A failed fetch is tried again with backoff; a refused write when policies change, for a policy may
have been in its way; a failed JSON patch never. Each of them is dropped when something newer that covers it lands.
Every step costs the same however much has failed.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from enum import Enum, auto
from typing import Generic, TypeAlias, TypeVar

import msgspec

from cabochon.backoff import Backoff
from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.sync.rules.update import Entry

__all__ = ["Cause", "FailedEntry", "RetryBook"]

_Owner = TypeVar("_Owner")
_What: TypeAlias = tuple[DocumentPath, str, bytes]
_FAILED_AT_MOST = 10_000
_SAME_FETCH_AT_MOST = 1_000


class Cause(Enum):
    """Why an entry is not in force."""

    FETCH = auto()
    REFUSED = auto()
    PATCH = auto()


class FailedEntry(Generic[_Owner]):
    """An entry that failed; `origin` is the number of its first try, `owner` whom its follow-up concerns."""

    __slots__ = ("cause", "due_at", "entry", "kept", "origin", "owner", "path", "same_fetch", "tries", "trying")

    def __init__(self, entry: Entry, cause: Cause, origin: int, owner: _Owner) -> None:
        self.entry = entry
        self.path: DocumentPath = entry.path
        self.cause = cause
        self.origin = origin
        self.owner = owner
        self.tries = 1
        self.due_at: float | None = None
        self.kept = False
        """Whether it is in the book."""
        self.trying: Entry | None = None
        """The entry of the try under way."""
        self.same_fetch: list[FailedEntry[_Owner]] = []
        """Older ones that fetch the same into the same place: a try of this one is a try of theirs."""

    @property
    def everyone(self) -> list[FailedEntry[_Owner]]:
        """This one, and those that land when it lands."""
        return [*self.same_fetch, self]


class RetryBook(Generic[_Owner]):
    """What failed, by path, by what it fetches, by when it is due, and by age."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failed: PathIndex[FailedEntry[_Owner]] = PathIndex()
        self._fetching: dict[_What, FailedEntry[_Owner]] = {}
        self._due: list[tuple[float, int, int, FailedEntry[_Owner]]] = []
        self._by_age: list[tuple[int, int, FailedEntry[_Owner]]] = []
        """Like `_due` it may hold what is not so any more: that is passed over."""
        self._turns = itertools.count()

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
            self._join(failed)
        self._failed.add(failed.path, failed)
        failed.kept = True
        self._list(failed)
        heapq.heappush(self._by_age, (failed.origin, next(self._turns), failed))
        return self._given_up(failed)

    def _join(self, failed: FailedEntry[_Owner]) -> None:
        what = _what(failed)
        if what is None:
            return
        old = self._fetching.get(what)
        if old is not None and old.trying is None and old.cause is Cause.FETCH and old.origin < failed.origin:
            self._drop([old])
            failed.same_fetch = [*failed.same_fetch, *old.same_fetch] if failed.same_fetch else old.same_fetch
            failed.same_fetch.append(old)
            old.same_fetch = []
        self._fetching[what] = failed

    def _given_up(self, failed: FailedEntry[_Owner]) -> list[FailedEntry[_Owner]]:
        gone = failed.same_fetch[:-_SAME_FETCH_AT_MOST]
        del failed.same_fetch[:-_SAME_FETCH_AT_MOST]
        while len(self._failed) > _FAILED_AT_MOST:
            oldest = heapq.heappop(self._by_age)[2]
            if oldest.kept:
                self._drop([oldest])
                gone.append(oldest)
        if len(self._by_age) > 2 * _FAILED_AT_MOST:
            self._by_age = [item for item in self._by_age if item[2].kept]
            heapq.heapify(self._by_age)
        return gone

    def failed_again(self, failed: FailedEntry[_Owner], now: float, *, retry_after_s: float | None = None) -> None:
        """Take note that another try of an entry failed; only the try of a fetch has a time for the next one."""
        failed.trying = None
        failed.tries += 1
        failed.due_at = None
        if failed.cause is Cause.FETCH:
            failed.due_at = now + self._backoff.wait_s(failed.tries, at_least_s=retry_after_s)
            self._list(failed)

    def settled(self, failed: FailedEntry[_Owner]) -> None:
        """Take an entry out: it has landed."""
        self._drop([failed])

    def landed(self, path: DocumentPath, number: int) -> list[FailedEntry[_Owner]]:
        """Take out and return what a document as new as `number` at `path` makes moot."""
        if not self._failed:
            return []
        moot = [failed for failed in self._failed.covered_by(path) if failed.origin < number]
        self._drop(moot)
        return moot

    def due(self, now: float) -> list[FailedEntry[_Owner]]:
        """Hand out what is to be tried now, the oldest first; each of them is handed out once, until it fails again."""
        out: list[FailedEntry[_Owner]] = []
        while self._due and self._due[0][0] <= now:
            due_at, _, _, failed = heapq.heappop(self._due)
            if _is_due_at(failed, due_at):
                failed.due_at = None
                out.append(failed)
        return sorted(out, key=_origin)

    def next_due_at(self) -> float | None:
        """When the next try is due; None if nothing waits for a time."""
        while self._due and not _is_due_at(self._due[0][3], self._due[0][0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def policies_changed(self, now: float) -> None:
        """Make every refused write due."""
        for failed in self._failed:
            if failed.cause is Cause.REFUSED and failed.trying is None:
                failed.due_at = now
                self._list(failed)

    def _list(self, failed: FailedEntry[_Owner]) -> None:
        if failed.due_at is not None and failed.kept:
            heapq.heappush(self._due, (failed.due_at, failed.origin, next(self._turns), failed))

    def _drop(self, moot: Sequence[FailedEntry[_Owner]]) -> None:
        for failed in moot:
            failed.kept = False
            self._failed.discard(failed.path, failed)
            what = _what(failed)
            if what is not None and self._fetching.get(what) is failed:
                del self._fetching[what]


def _what(failed: FailedEntry[_Owner]) -> _What | None:
    """What an entry fetches, and where it goes; None where a try of it stands for no other's."""
    spec = failed.entry.spec
    if spec is None or not failed.entry.replaces:
        return None
    return failed.path, spec.url, msgspec.json.encode(spec.config, order="deterministic", enc_hook=repr)


def _is_due_at(failed: FailedEntry[_Owner], at: float) -> bool:
    return failed.kept and failed.trying is None and failed.due_at == at


def _origin(failed: FailedEntry[_Owner]) -> int:
    return failed.origin
