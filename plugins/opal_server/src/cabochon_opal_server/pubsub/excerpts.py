"""What of an update somebody may see who may not follow all of its topics: the entries of the others are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec
from msgspec import Raw, Struct

from cabochon import LogRecord
from cabochon.documents.json_values import JsonError, guarded

__all__ = ["MaySee", "bodies_for"]

MaySee = Callable[[str], bool]
"""Tells whether somebody may follow a topic."""


class _Entry(Struct):
    topics: tuple[str, ...] = ()


def bodies_for(record: LogRecord) -> Callable[[MaySee | None], bytes]:
    """Return what gives a record's body as one may see it; None sees all, and the record is read for others only."""
    parts: _Parts | None = None
    made: dict[tuple[bool, ...], bytes] = {}

    def body(sees: MaySee | None) -> bytes:
        nonlocal parts
        if sees is None or all(sees(topic) for topic in record.topics):
            return record.body
        parts = parts or _Parts(record)
        seen = parts.seen(sees)
        if all(seen):
            return record.body
        if seen not in made:
            made[seen] = parts.only(seen)
        return made[seen]

    return body


class _Parts:
    """A record's body, taken apart as far as needed; one without entries has none that could be left out."""

    def __init__(self, record: LogRecord) -> None:
        self._members: dict[str, Raw] = {}
        self._entries: list[Raw] = []
        self._topics: list[Sequence[str]] = []
        try:
            members = guarded(_members.decode, record.body)
            entries = guarded(_list.decode, bytes(members.get("entries", b"[]")))
            given = [guarded(_entry.decode, bytes(entry)).topics for entry in entries]
            whole = _whole({topic for topics in given for topic in topics}, record.topics)
            self._topics = [[one for topic in topics for one in whole[topic]] for topics in given]
        except JsonError:
            # A message that somebody has published over the WebSocket, and no update.
            return
        self._members, self._entries = members, entries

    def seen(self, sees: MaySee) -> tuple[bool, ...]:
        """Tell of each entry whether it is seen; what was published to none of its own topics is nobody's secret."""
        return tuple(not topics or any(sees(topic) for topic in topics) for topics in self._topics)

    def only(self, seen: Sequence[bool]) -> bytes:
        """Write the body with these entries alone."""
        entries = [entry for entry, is_seen in zip(self._entries, seen, strict=True) if is_seen]
        members: dict[str, Any] = {**self._members, "entries": entries}
        return msgspec.json.encode(members)


_members = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_entry = msgspec.json.Decoder(_Entry)


def _whole(topics: AbstractSet[str], published: Sequence[str]) -> dict[str, list[str]]:
    """Give for each of some entries' topics those that it was published as: in a scope it stands without it."""
    found: dict[str, list[str]] = {topic: [] for topic in topics}
    known = frozenset(published)
    for topic in topics & known:
        found[topic].append(topic)
    for one in published if topics - known else ():
        colon = one.find(":")
        while colon >= 0:
            rest = one[colon + 1 :]
            if rest in found and rest not in known:
                found[rest].append(one)
            colon = one.find(":", colon + 1)
    return found
