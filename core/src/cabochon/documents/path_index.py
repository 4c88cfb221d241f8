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

    def overlapping(self, path: Sequence[str]) -> Iterator[V]:
        """Yield what lies above `path`, at it, and below it."""
        node = self._root
        for segment in path:
            yield from node.values.values()
            below = node.children.get(segment)
            if below is None:
                return
            node = below
        yield from _subtree(node)

    def covered_by(self, path: Sequence[str]) -> Iterator[V]:
        """Yield what lies at `path` and below it."""
        node = self._root
        for segment in path:
            below = node.children.get(segment)
            if below is None:
                return
            node = below
        yield from _subtree(node)

    def __iter__(self) -> Iterator[V]:
        """Yield every value."""
        return _subtree(self._root)


def _subtree(top: _Branch[V]) -> Iterator[V]:
    stack = [top]
    while stack:
        node = stack.pop()
        yield from node.values.values()
        stack.extend(node.children.values())
