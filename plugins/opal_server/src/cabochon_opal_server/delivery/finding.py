"""Find an update in the log, by its number or its id."""

from __future__ import annotations

import anyio.lowlevel
import msgspec
from msgspec import Struct

from cabochon import Backbone, LogRecord, LogTrimmedError

__all__ = ["Finder", "Found"]

_PAGE = 500
# As many as any number of a log has.
_MOST_DIGITS = 18
_MOST_REMEMBERED = 1_000


class Found(Struct, frozen=True):
    """An update of the log.

    Attributes:
        number: its place in the log.
        id: what it was published under; None once a later update has made it needless.
        topics: who is meant; of such an update, those of the later one.
        published_at: Unix seconds, of such an update None.
        superseded_by: the number of that later update.
    """

    number: int
    id: str | None
    topics: tuple[str, ...]
    published_at: float | None
    superseded_by: int | None = None


class _Update(Struct):
    id: str | None = None


class Finder:
    """Looks updates up; those that were asked for before are in memory.

    Args:
        most_read: an id is looked for among so many of the newest records.
    """

    def __init__(self, backbone: Backbone, *, most_read: int = 100_000) -> None:
        self._backbone = backbone
        self._most_read = most_read
        self._known: dict[str, Found] = {}

    async def find(self, key: str) -> Found | None:
        """Return the newest data update with this number or id, None if the log has none.

        Raises:
            BackboneError: the log can't be read now.
        """
        found = self._known.get(key)
        if found is None:
            found = await self._by_number(int(key)) if _is_number(key) else None
            found = found or await self._by_id(key)
            if found is None or found.superseded_by is not None:
                return found
            self._known[key] = found
            if len(self._known) > _MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
        by = (await self._backbone.superseded([found.number])).get(found.number)
        return found if by is None else msgspec.structs.replace(found, superseded_by=by)

    def forget(self) -> None:
        """Forget what was found in a log that was replaced."""
        self._known.clear()

    async def _by_number(self, number: int) -> Found | None:
        record = await self._record(number)
        if record is not None:
            return _found(record) if record.kind == "data" else None
        by = first = (await self._backbone.superseded([number])).get(number)
        while by is not None:
            record = await self._record(by)
            if record is not None:
                return Found(number, None, record.topics, None, first)
            by = (await self._backbone.superseded([by])).get(by)
        return None

    async def _record(self, number: int) -> LogRecord | None:
        if number < 1:
            return None
        try:
            page = await self._backbone.read(number - 1, limit=1)
        except LogTrimmedError:
            return None
        return page[0] if page and page[0].number == number else None

    async def _by_id(self, update_id: str) -> Found | None:
        """Read the log from its end: who asks, asks for what is new."""
        bounds = await self._backbone.bounds()
        oldest = max(bounds.floor, bounds.head - self._most_read)
        # As JSON writes it, without reading every record.
        mark = msgspec.json.encode(update_id)
        end = bounds.head
        while end > oldest:
            after = max(end - _PAGE, oldest)
            try:
                found = await self._newest(update_id, mark, after, end)
            except LogTrimmedError:
                return None
            if found is not None:
                return found
            end = after
            await anyio.lowlevel.checkpoint()
        return None

    async def _newest(self, update_id: str, mark: bytes, after: int, last: int) -> Found | None:
        """Look for an update among these numbers; where records are large, they come in several pages."""
        newest: Found | None = None
        while after < last and (page := await self._backbone.read(after, limit=last - after)):
            for record in page:
                if record.number <= last and record.kind == "data" and mark in record.body:
                    found = _found(record)
                    newest = found if found.id == update_id else newest
            after = page[-1].number
        return newest


def _found(record: LogRecord) -> Found:
    update = msgspec.json.decode(record.body, type=_Update)
    return Found(record.number, update.id, record.topics, record.appended_at)


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) <= _MOST_DIGITS
