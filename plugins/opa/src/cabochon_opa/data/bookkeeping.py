"""What the store keeps in OPA for itself, below `/system/cabochon`: the marker of the last commit.

The marker is a key, not a value: OPA has no test operation, but a `remove` of what is not there refuses a whole patch.
"""

from __future__ import annotations

from typing import Final

import msgspec

from cabochon.transactions.changes import Guard, Marker
from cabochon_opa.client import EngineAnswer
from cabochon_opa.data.owned_list import OWNED
from cabochon_opa.data.plan import Plan

__all__ = ["COMMIT", "PARENTS", "add_guard", "marker_in"]

COMMIT: Final = "/v1/data/system/cabochon/commit"
PARENTS: Final = (COMMIT, OWNED)
"""Made, if they are missing, before the first commit."""

_COMMIT_PATH = ("system", "cabochon", "commit")


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


def marker_in(answer: EngineAnswer) -> Marker | None:
    """Read the marker; None if there is none, or no way to tell which of several holds."""
    members = _members(answer)
    if len(members) != 1:
        return None
    epoch, _, number = next(iter(members)).rpartition("-")
    return Marker(epoch, int(number)) if epoch and number.isdecimal() else None


def _key(marker: Marker) -> str:
    return f"{marker.epoch}-{marker.number}"


def _members(answer: EngineAnswer) -> dict[str, bool]:
    try:
        return msgspec.json.decode(answer.body, type=_Members).result
    except msgspec.DecodeError:
        # Not what we wrote there, so not ours.
        return {}
