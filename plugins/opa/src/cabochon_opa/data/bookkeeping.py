"""What the store keeps in OPA for itself, below `/system/cabochon`: the marker of the last commit, and who owns what.

The marker is a key, not a value: OPA has no test operation, but a `remove` of what is not there refuses a whole patch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from cabochon.document_path import DocumentPath
from cabochon.policy_store import Guard, Marker
from cabochon_opa.client import Answer
from cabochon_opa.data.plan import Plan

__all__ = [
    "COMMIT",
    "OWNED",
    "PARENTS",
    "add_guard",
    "add_ownership",
    "marker_in",
    "owned_in",
    "owned_key",
    "with_parents",
]

COMMIT: Final = "/v1/data/system/cabochon/commit"
OWNED: Final = "/v1/data/system/cabochon/owned"
PARENTS: Final = (COMMIT, OWNED)
"""Made, if they are missing, before the first commit."""

_COMMIT_PATH = ("system", "cabochon", "commit")
_OWNED_PATH = ("system", "cabochon", "owned")


class _Members(msgspec.Struct):
    result: dict[str, bool] = {}


def add_guard(plan: Plan, guard: Guard) -> None:
    """Compare and swap the marker; without `expects` whatever is there is replaced."""
    leaves = _key(guard.leaves)
    if guard.expects is None:
        plan.add(None, _COMMIT_PATH, msgspec.json.encode({leaves: True}))
        return
    plan.remove(None, (*_COMMIT_PATH, _key(guard.expects)))
    plan.add(None, (*_COMMIT_PATH, leaves), b"true")


def add_ownership(plan: Plan, claims: Iterable[DocumentPath], releases: Iterable[DocumentPath]) -> None:
    """Put paths on the list of owned ones, and take others, which have to be on it, from it."""
    for path in releases:
        plan.remove(None, owned_key(path))
    for path in claims:
        plan.add(None, owned_key(path), b"true")


def owned_key(path: DocumentPath) -> tuple[str, ...]:
    """Return where a claimed path stands."""
    return (*_OWNED_PATH, path.pointer())


def with_parents(keys: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return these keys of the list, and the paths above them."""
    return {key[:depth] for key in keys for depth in range(1, len(key) + 1)}


def marker_in(answer: Answer) -> Marker | None:
    """Read the marker; None if there is none, or no way to tell which of several holds."""
    members = _members(answer)
    if len(members) != 1:
        return None
    epoch, _, number = next(iter(members)).rpartition("-")
    return Marker(epoch, int(number)) if epoch and number.isdecimal() else None


def owned_in(answer: Answer) -> list[DocumentPath]:
    """Read the list of owned paths, sorted."""
    return sorted(DocumentPath.from_pointer(text) for text in _members(answer))


def _key(marker: Marker) -> str:
    return f"{marker.epoch}-{marker.number}"


def _members(answer: Answer) -> dict[str, bool]:
    try:
        return msgspec.json.decode(answer.body, type=_Members).result
    except msgspec.DecodeError:
        # Not what we wrote there, so not ours.
        return {}
