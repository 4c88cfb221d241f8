"""Which records of the log later ones make needless; pure.

A data update may go when every entry of it is a PUT, and for each there is a later one with its document inside, which
no failed fetch can keep away, at the same path or above it by segment, that everyone gets who gets the old one. No
PATCH that overlaps the old entry's path may lie between the two: it would then apply to another document. Whoever
resumes before the old update gets the later one too, whoever resumes after it had the old one: the documents are the
same.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cabochon import ROOT, DocumentPath, DocumentPathError, LogRecord
from cabochon.documents.path_index import PathIndex
from cabochon.schemas import DataSourceEntry, DataUpdate

__all__ = ["Compaction"]


@dataclass(slots=True, eq=False)
class _Update:
    """An update that may still go, and how many of its entries are not covered yet."""

    number: int
    topics: frozenset[str]
    entries: list[_Put]
    left: int


@dataclass(slots=True, eq=False)
class _Put:
    update: _Update
    path: DocumentPath
    topics: frozenset[str]


class Compaction:
    """Reads the records of a log once, in order, and says what each makes needless.

    It remembers the updates that may still go, the newest `max_updates` of them; older ones stay in the log.
    """

    def __init__(self, *, max_updates: int = 100_000) -> None:
        self._max_updates = max_updates
        self._updates: dict[int, _Update] = {}
        self._puts: PathIndex[_Put] = PathIndex()
        self._topics: dict[tuple[str, ...], frozenset[str]] = {}

    def add(self, record: LogRecord) -> list[int]:
        """Take the next record; return the numbers that it supersedes, alone or with those before it."""
        if record.kind != "data":
            return []
        superseded: list[int] = []
        try:
            entries = msgspec.json.decode(record.body, type=DataUpdate).entries
            paths = [DocumentPath.parse(entry.dst_path) for entry in entries]
        except (msgspec.MsgspecError, DocumentPathError):
            # Nobody knows what a client makes of it.
            self._keep_overlapping(ROOT)
            return []
        topics = self._set_of(record.topics)
        for entry, path in zip(entries, paths, strict=True):
            if entry.save_method == "PATCH":
                self._keep_overlapping(path)
            elif entry.inline is not None:
                superseded += self._cover(path, topics, self._set_of(entry.topics))
        if entries and all(entry.save_method == "PUT" for entry in entries):
            self._remember(record.number, topics, entries, paths)
        return superseded

    def _cover(self, path: DocumentPath, record_topics: frozenset[str], topics: frozenset[str]) -> list[int]:
        gone: list[int] = []
        for put in list(self._puts.covered_by(path)):
            update = put.update
            if put.topics <= topics and update.topics <= record_topics:
                self._puts.discard(put.path, put)
                update.left -= 1
                if not update.left:
                    del self._updates[update.number]
                    gone.append(update.number)
        return gone

    def _keep_overlapping(self, path: DocumentPath) -> None:
        for update in {put.update for put in self._puts.overlapping(path)}:
            self._keep(update)

    def _keep(self, update: _Update) -> None:
        """Forget an update: it stays in the log."""
        self._updates.pop(update.number, None)
        for put in update.entries:
            self._puts.discard(put.path, put)

    def _remember(
        self,
        number: int,
        topics: frozenset[str],
        entries: tuple[DataSourceEntry, ...],
        paths: list[DocumentPath],
    ) -> None:
        update = _Update(number, topics, [], len(entries))
        for entry, path in zip(entries, paths, strict=True):
            put = _Put(update, path, self._set_of(entry.topics))
            update.entries.append(put)
            self._puts.add(path, put)
        self._updates[number] = update
        if len(self._updates) > self._max_updates:
            self._keep(next(iter(self._updates.values())))

    def _set_of(self, topics: tuple[str, ...]) -> frozenset[str]:
        """Return one set for equal topics, for there are few of them and many records."""
        known = self._topics.get(topics)
        if known is None:
            if len(self._topics) > self._max_updates:
                self._topics.clear()
            known = self._topics[topics] = frozenset(topics)
        return known
