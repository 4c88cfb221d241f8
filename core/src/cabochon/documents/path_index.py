"""An index of things by path that finds what overlaps a path without looking at the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

__all__ = ["PathIndex"]

V = TypeVar("V")


class _Branch(Generic[V]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Branch[V]] = {}
        self.values: dict[int, V] = {}


class PathIndex(Generic[V]):
    """Values at paths, several at one path if need be, compared by identity."""

    def __init__(self) -> None:
        self._root: _Branch[V] = _Branch()
        self._size = 0

    def __len__(self) -> int:
        """How many values there are."""
        return self._size

    def add(self, path: Sequence[str], value: V) -> None:
        """Put `value` at `path`."""
        node = self._root
        for segment in path:
            below = node.children.get(segment)
            if below is None:
                below = node.children[segment] = _Branch()
            node = below
        if id(value) not in node.values:
            node.values[id(value)] = value
            self._size += 1

    def discard(self, path: Sequence[str], value: V) -> None:
        """Take `value` away from `path` if it is there."""
        trail = [self._root]
        for segment in path:
            below = trail[-1].children.get(segment)
            if below is None:
                return
            trail.append(below)
        if trail[-1].values.pop(id(value), None) is None:
            return
        self._size -= 1
        for depth in range(len(path), 0, -1):
            if trail[depth].values or trail[depth].children:
                return
            del trail[depth - 1].children[path[depth - 1]]

    def above(self, path: Sequence[str]) -> Iterator[dict[int, V]]:
        """Yield for each place above `path` what lies there, in the order in which it was put there."""
        node = self._root
        for segment in path:
            yield node.values
            below = node.children.get(segment)
            if below is None:
                return
            node = below

    def around(self, path: Sequence[str]) -> Iterator[dict[int, V]]:
        """Yield for each place above `path`, at it, and below it what lies there, as `above` does."""
        yield from self.above(path)
        top = self._find(path)
        if top is not None:
            yield from (node.values for node in _nodes(top))

    def overlapping(self, path: Sequence[str]) -> Iterator[V]:
        """Yield what lies above `path`, at it, and below it."""
        for lying in self.around(path):
            yield from lying.values()

    def covered_by(self, path: Sequence[str]) -> Iterator[V]:
        """Yield what lies at `path` and below it."""
        top = self._find(path)
        if top is not None:
            yield from _subtree(top)

    def _find(self, path: Sequence[str]) -> _Branch[V] | None:
        node = self._root
        for segment in path:
            below = node.children.get(segment)
            if below is None:
                return None
            node = below
        return node

    def __iter__(self) -> Iterator[V]:
        """Yield every value."""
        return _subtree(self._root)


def _subtree(top: _Branch[V]) -> Iterator[V]:
    for node in _nodes(top):
        yield from node.values.values()


def _nodes(top: _Branch[V]) -> Iterator[_Branch[V]]:
    stack = [top]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children.values())
