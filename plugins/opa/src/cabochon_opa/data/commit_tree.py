"""What a commit has made of the documents so far, as far as its own later changes depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast

from cabochon.documents import json_values
from cabochon_opa.data.known_objects import KnownObjects

__all__ = ["CommitTree", "Kind"]

Kind = Literal["object", "array", "scalar", "absent", "unclear"]
"""What is at a path; "unclear" below an array whose elements the same commit has moved."""

_NOTHING: Final = object()


class _Node:
    __slots__ = ("children", "kind", "operations", "raw", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.operations: list[int] = []
        self.kind: Kind | None = None
        self.raw: bytes = b""
        self.value: Any = _NOTHING

    def kind_below(self, path: Sequence[str]) -> Kind:
        """Look into the value that was written here."""
        if not path or self.kind == "unclear":
            return self.kind or "absent"
        if self.kind not in {"object", "array"}:
            return "absent"
        if self.value is _NOTHING:
            self.value = json_values.decode(self.raw)
        value = self.value
        for segment in path:
            value = _child(value, segment)
            if value is _NOTHING:
                return "absent"
        return _kind(value)

    def walk(self) -> Iterator[_Node]:
        yield self
        for child in self.children.values():
            yield from child.walk()


class CommitTree:
    """Answers what is at a path after the changes seen so far, and which operations stand behind it.

    Args:
        known: what is known of OPA from before.
        asked: what OPA said about the paths that were not known; what is absent there is not in it.
    """

    def __init__(self, known: KnownObjects, asked: Mapping[tuple[str, ...], Kind]) -> None:
        self._known = known
        self._asked = asked
        self._root = _Node()

    def kind(self, path: tuple[str, ...]) -> Kind:
        """Tell what is at `path` now."""
        return self._find(path, path)

    def kind_without(self, path: tuple[str, ...]) -> Kind:
        """Tell what would be at `path` now if the commit had written nothing there or below."""
        return self._find(path, path[:-1])

    def _find(self, path: tuple[str, ...], follow: tuple[str, ...]) -> Kind:
        node, cover, covered_at = self._root, None, 0
        for depth, segment in enumerate(follow, start=1):
            child = node.children.get(segment)
            if child is None:
                break
            node = child
            if node.kind is not None:
                cover, covered_at = node, depth
        if cover is not None:
            return cover.kind_below(path[covered_at:])
        return "object" if path in self._known else self._asked.get(path, "absent")

    def operations_below(self, path: tuple[str, ...]) -> list[int]:
        """Return the numbers of the operations that were noted at `path` and below it."""
        node = self._root
        for segment in path:
            child = node.children.get(segment)
            if child is None:
                return []
            node = child
        return [number for below in node.walk() for number in below.operations]

    def note(self, path: tuple[str, ...], number: int) -> None:
        """Remember that an operation writes at `path`."""
        self._node(path).operations.append(number)

    def write(self, path: tuple[str, ...], raw: bytes) -> None:
        """Take note that `path` holds `raw` now; the operations noted there are forgotten."""
        node = self._fresh(path)
        first = raw.lstrip()[:1]
        node.kind = "object" if first == b"{" else "array" if first == b"[" else "scalar"
        node.raw = raw

    def remove(self, path: tuple[str, ...]) -> None:
        """Take note that there is nothing at `path` now."""
        self._fresh(path).kind = "absent"

    def lose_sight(self, path: tuple[str, ...]) -> None:
        """Take note that what is in the array at `path` can't be told any more."""
        node = self._node(path)
        node.kind = "unclear"
        node.operations = [number for below in node.walk() for number in below.operations]
        node.children = {}

    def _node(self, path: tuple[str, ...]) -> _Node:
        node = self._root
        for segment in path:
            node = node.children.setdefault(segment, _Node())
        return node

    def _fresh(self, path: tuple[str, ...]) -> _Node:
        above = self._node(path[:-1])
        above.children[path[-1]] = fresh = _Node()
        return fresh


def _child(value: object, segment: str) -> object:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).get(segment, _NOTHING)
    if isinstance(value, list):
        elements = cast("list[object]", value)
        return elements[int(segment)] if segment.isdecimal() and int(segment) < len(elements) else _NOTHING
    return _NOTHING


def _kind(value: object) -> Kind:
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "scalar"
