"""Entries that are not in force and may be one day: what to try again, when, and what is moot.

A pure state machine. A failed fetch is tried again with backoff; a refused write when policies change, for a policy may
have been in its way; a failed JSON patch never. Each of them is dropped when something newer that covers it lands.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from cabochon.backoff import Backoff
from cabochon.document_path import DocumentPath
from cabochon.path_index import PathIndex
from cabochon.scheduler import Entry

__all__ = ["Cause", "FailedEntry", "RetryBook"]


class Cause(Enum):
    """Why an entry is not in force."""

    FETCH = auto()
    REFUSED = auto()
    PATCH = auto()


class FailedEntry:
    """An entry that failed; `origin` is the number of its first try, `owner` whom its follow-up concerns."""

    __slots__ = ("cause", "due_at", "entry", "origin", "owner", "path", "tries", "trying")

    def __init__(self, entry: Entry, cause: Cause, origin: int, owner: Any) -> None:  # noqa: ANN401 - opaque here
        self.entry = entry
        self.path: DocumentPath = entry.path
        self.cause = cause
        self.origin = origin
        self.owner = owner
        self.tries = 1
        self.due_at: float | None = None
        self.trying: Entry | None = None
        """The entry of the try under way."""


class RetryBook:
    """What failed, by path."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failed: PathIndex[FailedEntry] = PathIndex()

    def __len__(self) -> int:
        """How many entries are waiting."""
        return len(self._failed)

    def add(self, failed: FailedEntry, now: float, *, retry_after_s: float | None = None) -> list[FailedEntry]:
        """Enter a failed entry; return those that it makes moot: older ones whose whole document it would replace.

        So the book holds no more than one replacing entry per path, however many updates fail.
        """
        moot: list[FailedEntry] = []
        if failed.entry.replaces:
            moot = [old for old in self._failed.covered_by(failed.path) if old.origin < failed.origin]
            self._drop(moot)
        if failed.cause is Cause.FETCH:
            failed.due_at = now + self._backoff.wait_s(failed.tries, at_least_s=retry_after_s)
        self._failed.add(failed.path, failed)
        return moot

    def failed_again(self, failed: FailedEntry, now: float, *, retry_after_s: float | None = None) -> None:
        """Take note that another try of an entry failed."""
        failed.trying = None
        failed.tries += 1
        failed.due_at = now + self._backoff.wait_s(failed.tries, at_least_s=retry_after_s)

    def settled(self, failed: FailedEntry) -> None:
        """Take an entry out: it has landed."""
        self._failed.discard(failed.path, failed)

    def landed(self, path: DocumentPath, number: int) -> list[FailedEntry]:
        """Take out and return what a document as new as `number` at `path` makes moot."""
        if not self._failed:
            return []
        moot = [failed for failed in self._failed.covered_by(path) if failed.origin < number]
        self._drop(moot)
        return moot

    def due(self, now: float) -> list[FailedEntry]:
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

    def _drop(self, moot: Sequence[FailedEntry]) -> None:
        for failed in moot:
            self._failed.discard(failed.path, failed)


def _origin(failed: FailedEntry) -> int:
    return failed.origin
