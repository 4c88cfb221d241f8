"""Writes that are put off: they are in what is desired, and not in the engine, which is away.

They are settled without the engine's word. So what was there before the first of them is remembered, in case the
engine, once it is back, refuses what they have made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from cabochon.documents.path import DocumentPath
from cabochon.sync.desired.document import Document
from cabochon.sync.desired.state import DesiredState

__all__ = ["PutOff", "PutOffWrite"]


class PutOffWrite(Struct, frozen=True, gc=False):
    """The latest write at a path that is not known to be in the engine.

    `number` is the origin of the newest such update; `replaced_by` is that of the newest that replaced the whole
    document there, None if none did.
    """

    number: int
    replaced_by: int | None


class PutOff:
    """The writes of one desired state that are put off, by path."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired
        self._writes: dict[DocumentPath, PutOffWrite] = {}
        self._before: dict[DocumentPath, Document | None] = {}

    def __len__(self) -> int:
        return len(self._writes)

    def __iter__(self) -> Iterator[DocumentPath]:
        return iter(self._writes)

    @property
    def remembered(self) -> int:
        """How many documents are remembered."""
        return len(self._before)

    def remember(self, path: DocumentPath) -> None:
        """Remember what a write at `path` changes, at most: the document it lies in, or the one there and all below.

        What is remembered already stays so.
        """
        top = self._desired.holder(path) or path
        around = {place: self._desired.document(place) for place in (top, *self._desired.owned(top))}
        self._before.update({place: document for place, document in around.items() if self.region(place) is None})

    def add(self, path: DocumentPath, number: int, *, replaced: bool) -> None:
        """Take note that `path` is to be written when the engine is back."""
        known = self._writes.get(path)
        replaced_by = number if replaced else None
        if known is not None:
            # A retry counts as old as its first try, and may come after something newer.
            number = max(number, known.number)
            replaced_by = max((n for n in (replaced_by, known.replaced_by) if n is not None), default=None)
        self._writes[path] = PutOffWrite(number, replaced_by)

    @property
    def writes(self) -> Mapping[DocumentPath, PutOffWrite]:
        """What waits at which path."""
        return self._writes

    def region(self, path: DocumentPath) -> DocumentPath | None:
        """Return the top of the region around `path` in which writes were put off, None if none were.

        Writes of one region were folded into one another, so they stand or fall together.
        """
        for depth in range(len(path) + 1):
            if path[:depth] in self._before:
                return DocumentPath(path[:depth])
        return None

    def newest(self, top: DocumentPath) -> int:
        """Return the origin of the newest update that waits in the region of `top`, 0 if none does."""
        return max((write.number for path, write in self._writes.items() if top.covers(path)), default=0)

    def take_back(self, top: DocumentPath, *, left_over: Collection[DocumentPath]) -> list[DocumentPath]:
        """Return to what was there before the writes in the region of `top`; return where to write again.

        What an earlier life left (`left_over`) goes when this one is synced, and not before.
        """
        before = {place: self._before.pop(place) for place in list(self._before) if top.covers(place)}
        documents = {place: document for place, document in before.items() if document is not None}
        places = dict.fromkeys([*self._desired.owned(top), *sorted(documents)])
        self._desired.put_back(top, documents)
        for path in [path for path in self._writes if top.covers(path)]:
            del self._writes[path]
        again = [path for path in places if path not in left_over or self._desired.holder(path) is not None]
        # Should the engine go away before they are written, they are still to be; for no update's sake.
        self._writes.update((path, PutOffWrite(0, replaced_by=0)) for path in again)
        return again

    def written(self) -> list[DocumentPath]:
        """Take note that the engine has judged all of them; return where it holds what it should now."""
        paths = list(self._writes)
        self._writes.clear()
        self._before.clear()
        return paths
