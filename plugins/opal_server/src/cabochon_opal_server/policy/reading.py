"""How much of a repository or bundle is read: what has more is refused as a whole, and the last that was good stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cabochon import CabochonError

__all__ = ["ReadLimits", "Reading", "RepositoryError", "UnfitError"]

_LONGEST_PATH = 1024
_LOOKS_UP_EVERY = 256


class RepositoryError(CabochonError):
    """The repository can't be read now; the message says why, and what to do where something can be done."""


class UnfitError(RepositoryError):
    """What is there can be read and not served, now or later: only something else there can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """How much there may be.

    Attributes:
        entries: files and folders, and lines of manifests.
        size: bytes of what is needed, and of all that a bundle unpacks to four times as much.
        depth: how many folders may lie in each other.
        seconds: how long it may take.
    """

    entries: int = 250_000
    size: int = 512 * 1024 * 1024
    depth: int = 128
    seconds: float = 300.0


class Reading:
    """One reading, in a thread of its own: counts, and ends beyond a limit or when nobody waits for it any more.

    Args:
        limits: how much there may be.
        clock: gives seconds.
    """

    def __init__(self, limits: ReadLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._ends_at = clock() + limits.seconds
        self._given_up = threading.Event()
        self._entries = 0
        self._size = 0

    def give_up(self) -> None:
        """End it soon, from another thread: nobody waits for it."""
        self._given_up.set()

    def look_up(self) -> None:
        """Raise RepositoryError if it takes too long, or was given up."""
        if self._given_up.is_set():
            raise RepositoryError("given up")
        if self._clock() > self._ends_at:
            raise RepositoryError(f"reading took more than OPAL_POLICY_READ_TIMEOUT={self.limits.seconds:g} seconds")

    def path(self, raw: bytes) -> str:
        """Count a file or folder, and return its path: text, and neither too long nor too deep.

        Raises:
            UnfitError: it is not.
        """
        self.count(1)
        if len(raw) > _LONGEST_PATH or raw.count(b"/") >= self.limits.depth:
            raise UnfitError(
                f"the path {raw[:80]!a}... is longer than {_LONGEST_PATH} bytes, or has more than "
                f"OPAL_POLICY_MAX_DEPTH={self.limits.depth} folders"
            )
        return raw.decode(errors="surrogateescape")

    def count(self, entries: int) -> None:
        """Count files, folders or lines of manifests.

        Raises:
            UnfitError: there are too many.
        """
        before, self._entries = self._entries, self._entries + entries
        if self._entries > self.limits.entries:
            raise UnfitError(f"there are more files and folders than OPAL_POLICY_MAX_ENTRIES={self.limits.entries}")
        if before // _LOOKS_UP_EVERY != self._entries // _LOOKS_UP_EVERY:
            self.look_up()

    def content(self, path: str, size: int) -> None:
        """Count a file that is needed, by its size, before its content is taken.

        Raises:
            UnfitError: it is too much, or the name of the file is no text, so that nobody can be told of it.
        """
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = ascii(path.encode(errors="surrogateescape")[:80])
            raise UnfitError(f"the name of the file {shown} is not UTF-8: rename it") from None
        self._size += size
        if self._size > self.limits.size:
            raise UnfitError(f"what is needed has more bytes than OPAL_POLICY_MAX_BYTES={self.limits.size}")
        self.look_up()
