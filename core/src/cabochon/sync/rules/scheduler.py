"""When each update may take effect: a pure state machine, without clock, tasks or I/O.

Every update gets a number at arrival. Updates whose paths overlap take effect in that order, all others as soon as
their data is there. One exception keeps a hung source from delaying a revocation: a write that replaces all of what an
older, still waiting write would change goes first, and the older one is dropped once the newer has landed.

An update moves from waiting (for its fetches, for older overlapping updates) to the queue, from which the committer
takes batches, and ends. Only waiting updates are indexed: an inline update that overlaps none of them costs a look-up.
An entry waits for one of those in its way at a time, and looks for the next one then: so a thousand in one place cost a
thousand looks, and not a million.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path_index import PathIndex
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update

__all__ = ["Scheduler"]


class Scheduler:
    """Orders updates; see the module's docstring for the rules."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: PathIndex[Entry] = PathIndex()
        self._holding: dict[Update, list[Entry]] = {}
        self._queue: deque[Update] = deque()
        self._out_of_the_way: deque[Entry] = deque()
        self._letting_go = False

    @property
    def queued(self) -> int:
        """How many updates wait for the committer."""
        return len(self._queue)

    @property
    def last_number(self) -> int:
        """The number of the newest arrival."""
        return self._number

    # ---------------------------------------------------------------------------------------------- what happens

    def arrive(self, update: Update) -> None:
        """Give the update its number and find what it has to wait for."""
        self._number += 1
        update.number = self._number
        if update.kind is not Kind.RETRY:
            update.origin = self._number
        for entry in update.entries:
            if entry.state is EntryState.FETCHING:
                update.waiting += 1
            if self._waiting and entry.alive and self._waits(entry, arriving=True):
                update.blocked += 1
        if not update.waiting and not update.blocked:
            self._enqueue(update, indexed=False)
        else:
            for entry in update.entries:
                if entry.can_be_moot:
                    self._waiting.add(entry.path, entry)

    def fetched(self, entry: Entry, raw: bytes | None, operations: tuple[PatchOperation, ...] = ()) -> None:
        """Take note that the data of an entry has come; it is dropped if a newer write has landed meanwhile."""
        if entry.state is EntryState.MOOT:
            entry.raw, entry.fetched = raw, True
        else:
            entry.ready(raw, operations)
        self._one_less(entry.update)

    def failed(self, entry: Entry, error: Exception) -> None:
        """Take note that the data of an entry can't be had now; nobody waits for it any longer."""
        if entry.state is EntryState.MOOT:
            entry.fetch_missed(error)
        else:
            entry.fetch_failed(error)
        # The update first: a retry that waited for it, and is newer, has to find it ended.
        self._one_less(entry.update)
        self._release_waiters(entry)

    def make_moot(self, entry: Entry) -> None:
        """Drop an entry that is not in the engine, because something newer that covers it has landed.

        If it is still being fetched, its update goes on waiting for that, so that the report can say how it went.
        """
        if entry.can_be_moot:
            entry.become_moot()
            self._waiting.discard(entry.path, entry)
            self._release_waiters(entry)

    def take(self, *, max_updates: int, max_bytes: int) -> list[Update]:
        """Remove a batch from the queue, in order, at least one update if there is any.

        A retry starts a batch of its own, so that everything before it has ended when it is judged.
        """
        batch: list[Update] = []
        size = 0
        while self._queue and len(batch) < max_updates:
            update = self._queue[0]
            size += update.size_bytes
            if batch and (size > max_bytes or update.kind is Kind.RETRY):
                break
            batch.append(self._queue.popleft())
        return batch

    def ended(self, update: Update) -> None:
        """Take note that an update has ended: what it held back is dropped where it landed on it, else let go."""
        if update.kind is Kind.RETRY and self._waiting:
            self._make_older_moot(update)
        for entry in self._holding.pop(update, ()):
            if _covered_by(entry, update.entries):
                self.make_moot(entry)
            self._one_less(entry.update)

    # --------------------------------------------------------------------------------------------------- how

    def _waits(self, entry: Entry, *, arriving: bool) -> bool:
        """Make an entry wait for an older one in its way, except those that it may overtake, if there is any."""
        update = entry.update
        overtakes = entry.replaces and update.kind is not Kind.RETRY
        for lying in self._waiting.above(entry.path) if overtakes else self._waiting.around(entry.path):
            # What arrives is newer than all that waits, and the newest of these is out of its way last.
            for older in reversed(lying.values()) if arriving else lying.values():
                if older.update.number >= update.number:
                    break
                if older.alive:
                    if older.waiters is None:
                        older.waiters = []
                    older.waiters.append(entry)
                    return True
        return False

    def _one_less(self, update: Update) -> None:
        update.waiting -= 1
        self._settle(update)

    def _settle(self, update: Update) -> None:
        if not update.waiting and not update.blocked and not update.queued:
            self._enqueue(update, indexed=True)

    def _enqueue(self, update: Update, *, indexed: bool) -> None:
        update.queued = True
        self._queue.append(update)
        if indexed:
            for entry in update.entries:
                self._waiting.discard(entry.path, entry)
        if self._waiting:
            self._hold_older(update)
        if indexed:
            for entry in update.entries:
                self._release_waiters(entry)

    def _hold_older(self, update: Update) -> None:
        """Keep back older waiting writes that this one replaces, until it is known whether it lands."""
        if update.kind is Kind.RETRY:
            return
        for entry in update.entries:
            if not (entry.replaces and entry.alive):
                continue
            for older in self._waiting.covered_by(entry.path):
                if older.update.number < update.number:
                    older.update.waiting += 1
                    self._holding.setdefault(update, []).append(older)

    def _make_older_moot(self, retry: Update) -> None:
        """Drop what failed in updates that are older than the first try of what has landed, and that still wait."""
        for entry in retry.entries:
            for older in list(self._waiting.covered_by(entry.path)):
                if older.update.origin < retry.origin and _covered_by(older, [entry]):
                    self.make_moot(older)

    def _release_waiters(self, entry: Entry) -> None:
        """Let whatever waits for an entry wait for the next one in its way, or go."""
        self._out_of_the_way.append(entry)
        if self._letting_go:
            return
        self._letting_go = True
        while self._out_of_the_way:
            entry = self._out_of_the_way.popleft()
            waiters, entry.waiters = entry.waiters, None
            for waiter in waiters or ():
                if not self._waits(waiter, arriving=False):
                    waiter.update.blocked -= 1
                    self._settle(waiter.update)
        self._letting_go = False


def _covered_by(entry: Entry, writes: Iterable[Entry]) -> bool:
    """Tell whether one of these writes has landed and leaves nothing of the entry's path."""
    return any(write.replaces and write.settled and write.path.covers(entry.path) for write in writes)
