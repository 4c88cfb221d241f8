"""What of the desired state is not on disk yet, and what of a loaded backup nobody has written again.

The desired state tells of every change; it counts from `settle` on, as the change itself does. Documents never change,
so that what is kept here is as of one moment, however long it takes to write it to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from msgspec import Struct

from cabochon.documents.path import DocumentPath
from cabochon.sync.desired.document import Document
from cabochon.transactions.changes import Change, DeleteData, SetData

__all__ = ["ChangeJournal", "Unsaved"]


class Unsaved(Struct, frozen=True, gc=False):
    """What belongs at a path now (None: nothing); `region` says that whatever was at it and below it is gone."""

    document: Document | None
    region: bool


class _How(Enum):
    WRITTEN = auto()
    REMOVED = auto()
    EDITED = auto()


class _Touch(Struct, frozen=True, gc=False):
    path: DocumentPath
    how: _How
    edit: Change | None = None


def _nothing() -> None:
    """Tell nobody."""


@dataclass(slots=True)
class ChangeJournal:
    """Changes by path, in an order in which they can be applied to what is on disk.

    Attributes:
        on_settled: called after each `settle`.
        left_over: the documents that a backup brought and nobody has written as a whole since, with the edits since.
    """

    on_settled: Callable[[], None] = _nothing
    left_over: dict[DocumentPath, dict[DocumentPath, Change]] = field(
        default_factory=dict[DocumentPath, "dict[DocumentPath, Change]"]
    )
    _unsaved: dict[DocumentPath, Unsaved] = field(default_factory=dict[DocumentPath, Unsaved])
    _touched: list[_Touch] = field(default_factory=list[_Touch])

    def __len__(self) -> int:
        """How many paths are not on disk as they should be."""
        return len(self._unsaved)

    # ----------------------------------------------------------------------------------- told by the desired state

    def wrote(self, path: DocumentPath) -> None:
        """Take note that a whole document is written at `path`, in place of all that was there."""
        self._touched.append(_Touch(path, _How.WRITTEN))

    def removed(self, path: DocumentPath) -> None:
        """Take note that everything at `path` and below it is removed, or put back to what was there before."""
        self._touched.append(_Touch(path, _How.REMOVED))

    def edited(self, path: DocumentPath, edit: Change) -> None:
        """Take note of an edit of the document at `path`."""
        self._touched.append(_Touch(path, _How.EDITED, edit))

    def settle(self, document: Callable[[DocumentPath], Document | None]) -> None:
        """Take note that the changes so far are final; `document` tells what is at a path now."""
        for touch in self._touched:
            path = touch.path
            if touch.how is not _How.EDITED:
                self._unsaved.pop(path, None)
                self._unsaved[path] = Unsaved(document(path), region=True)
                if touch.how is _How.WRITTEN:
                    self.left_over.pop(path, None)
                continue
            known = self._unsaved.get(path)
            # In its old place: what was written after it, below it, is not to be removed with its region.
            self._unsaved[path] = Unsaved(document(path), region=known is not None and known.region)
            if touch.edit is not None and path in self.left_over:
                _keep(self.left_over[path], path, touch.edit)
        self._touched.clear()
        self.on_settled()

    def rollback(self, touched: int) -> None:
        """Take note that all but the first so many of the changes since `settle` were taken back."""
        del self._touched[touched:]

    @property
    def touched(self) -> int:
        """How many changes there were since `settle`."""
        return len(self._touched)

    # -------------------------------------------------------------------------------------------- asked by the backup

    def take(self) -> dict[DocumentPath, Unsaved]:
        """Take out what is not on disk."""
        taken, self._unsaved = self._unsaved, {}
        return taken

    def put_back(self, taken: Mapping[DocumentPath, Unsaved]) -> None:
        """Take note that what was taken could not be written."""
        newer, self._unsaved = self._unsaved, dict(taken)
        for path, unsaved in newer.items():
            if unsaved.region:
                self._unsaved.pop(path, None)
                self._unsaved[path] = unsaved
            else:
                known = self._unsaved.get(path)
                self._unsaved[path] = Unsaved(unsaved.document, region=known is not None and known.region)

    def forget_left_over(self, *, keep: Callable[[DocumentPath], bool]) -> Iterator[tuple[DocumentPath, list[Change]]]:
        """Yield what nobody wrote again, each with the edits since, unless it is to be kept; then it is forgotten."""
        left_over, self.left_over = self.left_over, {}
        for path, edits in left_over.items():
            if not keep(path):
                yield path, list(edits.values())


def _keep(edits: dict[DocumentPath, Change], document: DocumentPath, edit: Change) -> None:
    """Remember what was written inside a document; a JSON patch goes with the document that it was made for."""
    if not isinstance(edit, SetData | DeleteData):
        return
    place = document.joined(edit.path)
    for path in [path for path in edits if place.covers(path)]:
        del edits[path]
    edits[place] = SetData(place, edit.value) if isinstance(edit, SetData) else DeleteData(place)
