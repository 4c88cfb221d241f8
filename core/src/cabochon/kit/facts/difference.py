"""What the engine must be told, cut to calls that it takes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

__all__ = ["Call", "Difference"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Call(Generic[K, A]):
    """What one call writes, all or nothing; no fact is named twice.

    Attributes:
        deletes: facts to remove; one that is not there is fine.
        writes: facts to write, each with its attribute (None where it has none); one that is there is fine.
    """

    deletes: Sequence[K]
    writes: Mapping[K, A]

    def __len__(self) -> int:
        """How many facts it names."""
        return len(self.deletes) + len(self.writes)


@dataclass(frozen=True, slots=True)
class Difference(Generic[K, A]):
    """What the engine must be told.

    Attributes:
        deletes: facts that nobody owns any more.
        rewrites: facts that are there with another attribute, or may be.
        writes: facts that are not there.
    """

    deletes: Sequence[K]
    rewrites: Mapping[K, A]
    writes: Mapping[K, A]

    def calls(self, most: int | None, *, overwrites: bool) -> Iterator[Call[K, A]]:
        """Cut it to calls of at most `most` facts, deletes first.

        Where the engine does not overwrite an attribute, the facts to be rewritten are deleted in calls of their own,
        before all others: for a moment they are not there. Everything else is one call if it fits.
        """
        if not overwrites:
            rest = iter(self.rewrites)
            while keys := tuple(islice(rest, most)):
                yield Call(keys, {})
        writes = [*self.writes.items(), *self.rewrites.items()]
        total = len(self.deletes) + len(writes)
        for start in range(0, total, most or total or 1):
            end = min(start + (most or total), total)
            written = writes[max(0, start - len(self.deletes)) : max(0, end - len(self.deletes))]
            yield Call(self.deletes[start:end], dict(written))
