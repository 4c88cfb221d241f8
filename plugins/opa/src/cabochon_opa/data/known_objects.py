"""Which paths are known to hold a JSON object in OPA: what a write needs to know of the parents of its path."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["KnownObjects"]

_LIMIT = 200_000


class KnownObjects:
    """A trie in which a node stands for an object; the root always is one.

    It only ever knows too little, never too much, as long as it hears of every write; what others do to the documents
    shows as a refusal, after which `clear` begins anew. Kept below some 200,000 nodes by forgetting everything.
    """

    def __init__(self) -> None:
        self._root: _Node = {}
        self._size = 0

    def __contains__(self, path: Sequence[str]) -> bool:
        """Tell whether an object is known to be at `path`."""
        node: _Node | None = self._root
        for segment in path:
            node = node.get(segment)
            if node is None:
                return False
        return True

    def learn(self, path: Sequence[str]) -> None:
        """Take note that there is an object at `path`, and so at every path above it."""
        node = self._root
        for segment in path:
            child = node.get(segment)
            if child is None:
                if self._size >= _LIMIT:
                    self.clear()
                    return
                child = node[segment] = {}
                self._size += 1
            node = child

    def replaced(self, path: Sequence[str], *, by_object: bool) -> None:
        """Take note that what was at `path` is gone, and whether an object is there now."""
        if not path:
            self.clear()
            return
        *above, last = path
        node: _Node | None = self._root
        for segment in above:
            node = node.get(segment)
            if node is None:
                return
        if last in node:
            if by_object:
                node[last] = {}
            else:
                del node[last]

    def clear(self) -> None:
        """Know nothing any more."""
        self._root = {}
        self._size = 0


_Node = dict[str, "_Node"]
