"""A few tuples that must be there, by which a wiped store is noticed: pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from cabochon_openfga.tuples import TupleKey

__all__ = ["Witnesses"]

_MOST = 32


class Witnesses:
    """Tuples of ours that were written and not deleted since; each look takes the next one."""

    def __init__(self) -> None:
        self._tuples: OrderedDict[TupleKey, None] = OrderedDict()

    def written(self, keys: Iterable[TupleKey]) -> None:
        """Take note of tuples that are there; the newest of them count."""
        for key in keys:
            self._tuples[key] = None
            self._tuples.move_to_end(key)
            if len(self._tuples) > _MOST:
                self._tuples.popitem(last=False)

    def deleted(self, keys: Iterable[TupleKey]) -> None:
        """Take note of tuples that are not there, or may not be in a moment."""
        for key in keys:
            self._tuples.pop(key, None)

    def next(self) -> TupleKey | None:
        """Return one to look for, None if there is none."""
        if not self._tuples:
            return None
        key = next(iter(self._tuples))
        self._tuples.move_to_end(key)
        return key

    def forget(self) -> None:
        """Nothing is there any more."""
        self._tuples.clear()
