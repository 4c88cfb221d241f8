"""The changes that bring back what is desired now, whatever comes after, or take one document out of it."""

from __future__ import annotations

from collections.abc import Iterable

from cabochon.documents.path import DocumentPath
from cabochon.sync.desired.state import DesiredState
from cabochon.transactions.changes import Change, DeleteData, SetData

__all__ = ["bringing_back", "removing"]


def bringing_back(desired: DesiredState, path: DocumentPath) -> list[Change]:
    """Return the changes that bring back what is at `path` now, and what a write there takes away, by value."""
    if desired.owned_facts:
        return [DeleteData(path), *_as_written(desired, desired.owned(path))]
    value = desired.read(path)
    return [DeleteData(path) if value is None else SetData(path, value)]


def removing(desired: DesiredState, path: DocumentPath) -> list[Change]:
    """Return the changes that remove the document at `path`; with facts, what paths below it own stays."""
    return [DeleteData(path), *_as_written(desired, (place for place in desired.owned(path) if place != path))]


def _as_written(desired: DesiredState, places: Iterable[DocumentPath]) -> list[Change]:
    values = ((place, desired.read(place)) for place in places)
    return [SetData(place, value) for place, value in values if value is not None]
