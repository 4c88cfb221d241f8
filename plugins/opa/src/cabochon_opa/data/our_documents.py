"""Where our documents are in OPA: those that the list there names, and those that are being written."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

from cabochon.documents.path import DocumentPath

__all__ = ["OurDocuments"]


class OurDocuments:
    """The paths that we keep in OPA, as far as we know them."""

    def __init__(self) -> None:
        self._claimed: set[DocumentPath] = set()
        self._lost: set[DocumentPath] = set()
        self._under_way: Sequence[DocumentPath] = ()

    def __contains__(self, path: object) -> bool:
        """Tell whether a path is on the list in OPA."""
        return path in self._claimed

    def __iter__(self) -> Iterator[DocumentPath]:
        """Give all paths, those of the commit under way included, and those that will be written again."""
        yield from self._claimed
        yield from self._lost
        yield from self._under_way

    @contextmanager
    def being_written(self, paths: Sequence[DocumentPath]) -> Generator[None]:
        """Count paths in while a commit writes them, of which nobody knows yet how it ends."""
        self._under_way = paths
        try:
            yield
        finally:
            self._under_way = ()

    def claim(self, paths: Iterable[DocumentPath]) -> None:
        """Take note that paths are on the list in OPA."""
        claimed = set(paths)
        self._claimed |= claimed
        self._lost -= claimed

    def release(self, paths: Iterable[DocumentPath]) -> None:
        """Take note that paths are no longer on it."""
        gone = set(paths)
        self._claimed -= gone
        self._lost -= gone

    def forget(self) -> None:
        """Know of no list any more: it may be another OPA."""
        self._lost |= self._claimed
        self._claimed = set()
