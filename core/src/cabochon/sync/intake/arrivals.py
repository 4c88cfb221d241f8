"""Where every update arrives: it gets its number and its place in the order, and the data lane hears of it."""

from __future__ import annotations

from cabochon.documents.json_patch import PatchOperation
from cabochon.sync.engine.committer import Committer
from cabochon.sync.outcome.under_way import UnderWay
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, Kind, Update

__all__ = ["Arrivals"]


class Arrivals:
    """Lets updates arrive and tells how their fetches went; the committer takes it from there."""

    def __init__(self, scheduler: Scheduler, under_way: UnderWay, committer: Committer) -> None:
        self._scheduler = scheduler
        self._under_way = under_way
        self._committer = committer

    @property
    def next_number(self) -> int:
        """The number that the next update gets."""
        return self._scheduler.last_number + 1

    def arrive(self, update: Update) -> None:
        """Let an update arrive; a record only goes into the log, and is not under way."""
        if update.kind is not Kind.RECORD:
            self._under_way.started(update)
        self._scheduler.arrive(update)
        self._committer.notify()

    def fetched(self, entry: Entry, raw: bytes, operations: tuple[PatchOperation, ...]) -> None:
        """Take note that the data of an entry has come."""
        self._under_way.grew(entry.update, len(raw))
        self._scheduler.fetched(entry, raw, operations)
        self._committer.notify()

    def failed(self, entry: Entry, error: Exception) -> None:
        """Take note that the data of an entry can't be had now."""
        self._scheduler.failed(entry, error)
        self._committer.notify()

    def has_room(self, *, max_updates: int, max_bytes: int) -> bool:
        """Tell whether another update may be taken in."""
        return self._under_way.has_room(max_updates=max_updates, max_bytes=max_bytes)

    async def room(self, *, max_updates: int, max_bytes: int) -> None:
        """Wait until there is room for another one."""
        await self._under_way.room(max_updates=max_updates, max_bytes=max_bytes)
