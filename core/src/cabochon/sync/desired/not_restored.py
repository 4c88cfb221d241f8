"""What the engine should hold, held before, and refused when it was filled with it again."""

from __future__ import annotations

from collections.abc import Mapping

from cabochon.documents.path import DocumentPath

__all__ = ["NotRestored"]


class NotRestored(dict[DocumentPath, str]):
    """The documents, with the reasons; one that is written as a whole since, or removed, is not among them any more."""

    def restored_but(self, refused: Mapping[DocumentPath, Exception]) -> None:
        """Take note that the engine holds all it should but what it refused."""
        self.clear()
        self.refused_too(refused)

    def refused_too(self, refused: Mapping[DocumentPath, Exception]) -> None:
        """Take note of more that the engine refused."""
        self.update((path, str(error)) for path, error in refused.items())
