"""How policies get into OPA: the shape that REST and bundle delivery share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from cabochon.contract.powers import PolicyProblem
from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import PolicyChange

__all__ = ["DocumentPaths", "PolicyDelivery"]

DocumentPaths = Callable[[], Iterable[DocumentPath]]
"""Gives the paths of all documents that this agent keeps in OPA right now."""


class PolicyDelivery(Protocol):
    """Writes policies into OPA and remembers which are in force; one call of `write` at a time."""

    async def write(self, changes: Sequence[PolicyChange]) -> None:
        """Do all of `changes`, or leave in force what was.

        Returns once they are in force: answered by OPA, or confirmed by its status.

        Raises:
            StoreRejectedError: OPA refuses them, in OPA's own words, with file, row and column.
            StoreUnavailableError: OPA does not answer; some of it may be done (`RequestUnansweredError`). The next
                `write` begins by finding out.
        """
        ...

    def blocks(self, paths: Iterable[DocumentPath], /) -> bool:
        """Tell whether policies of ours keep data from being written at these paths, or will in a moment.

        Asked before each commit of data, so it must be quick; if so, `make_room` is called first.
        """
        ...

    async def make_room(self, paths: Sequence[DocumentPath], /) -> bool:
        """Let data be written at these paths, if policies of ours are what keeps OPA from it.

        Returns:
            True if another try of the data may succeed.
        """
        ...

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with this whole set (id to source), nothing if it is good or can't be judged here."""
        ...

    def repository_id(self, opa_id: str) -> str:
        """Return the id under which we were given the policy that OPA calls `opa_id`."""
        ...

    def forget(self) -> None:
        """OPA has lost what was in it: nothing is in force until it is written again."""
        ...
