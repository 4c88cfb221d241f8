"""A group of updates as it is committed: cut to what the engine takes, and cut down when the engine refuses it."""

from __future__ import annotations

from collections.abc import Sequence

from cabochon.contract.policy_store import StoreTraits
from cabochon.documents.path_index import PathIndex
from cabochon.sync.rules.update import Entry, EntryState, Update

__all__ = ["Part", "alive_entries", "cut", "halved"]


class Part:
    """An update, or some entries of one, in a group; `last` says that the update ends with it."""

    __slots__ = ("entries", "last", "update")

    def __init__(self, update: Update, entries: list[Entry], *, last: bool) -> None:
        self.update = update
        self.entries = entries
        self.last = last


def cut(batch: Sequence[Update], traits: StoreTraits) -> list[list[Part]]:
    """Cut a batch into groups that fit one commit; only an update that does not fit alone is cut itself."""
    limit, atomic = traits.max_changes, traits.atomic
    if limit is None and atomic == "commit":
        return [[Part(update, update.entries, last=True) for update in batch]]
    groups: list[list[Part]] = [[]]
    count = 0
    written: PathIndex[Entry] = PathIndex()
    for update in batch:
        size = 1 if atomic == "change" else limit or len(update.entries) or 1
        pieces = [update.entries[at : at + size] for at in range(0, len(update.entries), size)] or [[]]
        for number, piece in enumerate(pieces, start=1):
            if (limit is not None and count + len(piece) > limit) or (
                # What is refused by itself is tried again in pieces: nothing that landed beside it may overlap it.
                atomic != "commit" and any(any(written.overlapping(entry.path)) for entry in piece)
            ):
                groups.append([])
                count, written = 0, PathIndex[Entry]()
            groups[-1].append(Part(update, piece, last=number == len(pieces)))
            count += len(piece)
            if atomic != "commit":
                for entry in piece:
                    written.add(entry.path, entry)
    return [group for group in groups if group]


def alive_entries(parts: Sequence[Part]) -> list[Entry]:
    """Return the entries that still have something to write, in order."""
    return [entry for part in parts for entry in part.entries if entry.state is EntryState.READY]


def halved(parts: list[Part]) -> list[list[Part]] | None:
    """Cut a group in two by entries that still write something; None if there are not two of them.

    An update is only cut where it is the only one that still writes: a reader is not to see half of it.
    """
    sizes = [len(alive_entries([part])) for part in parts]
    writing = [at for at, size in enumerate(sizes) if size]
    if len(writing) > 1:
        middle = next((at for at in writing[1:] if 2 * sum(sizes[:at]) >= sum(sizes)), writing[-1])
        return [parts[:middle], parts[middle:]]
    return _halved_inside(parts)


def _halved_inside(parts: list[Part]) -> list[list[Part]] | None:
    alive = alive_entries(parts)
    if len(alive) <= 1:
        return None
    first = set(map(id, alive[: len(alive) // 2]))
    left: list[Part] = []
    right: list[Part] = []
    for part in parts:
        mine = [entry for entry in part.entries if id(entry) in first]
        rest = [entry for entry in part.entries if id(entry) not in first]
        still_writes = any(entry.state is EntryState.READY for entry in rest)
        if mine and still_writes:
            left.append(Part(part.update, mine, last=False))
            right.append(Part(part.update, rest, last=part.last))
        elif still_writes or right:
            right.append(part)
        else:
            left.append(part)
    return [left, right]
