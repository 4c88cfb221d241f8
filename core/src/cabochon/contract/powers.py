"""What a store can do beyond `commit` and `health`: it shows each power by having its methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Marker

__all__ = [
    "PolicyProblem",
    "SupportsExport",
    "SupportsJsonPatch",
    "SupportsMarker",
    "SupportsOwnership",
    "SupportsReadBack",
    "SupportsRestartToken",
    "SupportsValidation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProblem:
    """Why the engine would refuse a policy: `id` names it, `row` and `column` count from 1 where known."""

    id: str
    message: str
    row: int | None = None
    column: int | None = None


@runtime_checkable
class SupportsJsonPatch(Protocol):
    """The engine applies JSON patches itself.

    Without it the core works on its own copy of the document and writes the result as `SetData`. Operations that are
    not in `patch_operations` are translated by the core before the store sees them.
    """

    @property
    def patch_operations(self) -> frozenset[str]:
        """Operations that the engine knows, of add, remove, replace, move, copy and test."""
        ...


@runtime_checkable
class SupportsReadBack(Protocol):
    """The engine tells what it holds."""

    async def get_data(self, path: DocumentPath) -> bytes | None:
        """Return the raw JSON at `path`, None if there is nothing; `StoreUnavailableError` if it does not answer."""
        ...

    async def get_policies(self) -> Mapping[str, str]:
        """Return the source of every policy by id; `StoreUnavailableError` if the engine does not answer."""
        ...


@runtime_checkable
class SupportsMarker(Protocol):
    """The engine keeps the marker of the last commit, written and compared atomically with it."""

    async def read_marker(self) -> Marker | None:
        """Return it, None if the engine holds none; `StoreUnavailableError` if it does not answer."""
        ...


@runtime_checkable
class SupportsOwnership(Protocol):
    """The engine keeps the list of paths that agents claimed, so that a new life finds what an earlier one left."""

    async def owned_paths(self) -> Sequence[DocumentPath]:
        """Return it; `StoreUnavailableError` if the engine does not answer."""
        ...


@runtime_checkable
class SupportsRestartToken(Protocol):
    """The engine shows a token that changes when it starts anew with nothing in it."""

    async def restart_token(self) -> str:
        """Return it; `StoreUnavailableError` if the engine does not answer."""
        ...


@runtime_checkable
class SupportsValidation(Protocol):
    """Policies can be judged before they are applied."""

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with this whole set (id to source), nothing if it is good.

        `StoreUnavailableError` if the engine does not answer.
        """
        ...


@runtime_checkable
class SupportsExport(Protocol):
    """Everything that the engine holds can be written down."""

    async def export_data(self) -> bytes:
        """Return the whole data document as raw JSON; `StoreUnavailableError` if the engine does not answer."""
        ...
