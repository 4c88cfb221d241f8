"""The policies that the engine should hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from cabochon.documents.path import DocumentPath

__all__ = ["DesiredPolicies"]


@dataclass(slots=True)
class DesiredPolicies:
    """The policies of one agent.

    Attributes:
        by_id: their text, in the order in which they are to be loaded.
        hash: of the newest bundle among them, None if none ever came.
        data_paths: where data files of the policies are written.
    """

    by_id: dict[str, str] = field(default_factory=dict[str, str])
    hash: str | None = None
    data_paths: frozenset[DocumentPath] = frozenset()
