"""What one commit writes: changes, the transactions they belong to, and the guard that it carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath

__all__ = [
    "Change",
    "Changes",
    "DataChange",
    "DeleteData",
    "DeletePolicy",
    "Guard",
    "Marker",
    "PatchData",
    "PolicyChange",
    "ReplacePolicies",
    "SetData",
    "SetPolicy",
    "Write",
    "policies_after",
]


class SetData(Struct, frozen=True, gc=False):
    """Replace what is at `path` by the raw JSON `value`; missing parents are created.

    In a store of facts, `path` then owns the facts of `value`, and the paths below it own none.
    """

    path: DocumentPath
    value: bytes


class PatchData(Struct, frozen=True, gc=False):
    """Apply a JSON patch to the document at `path`: all of its operations or none."""

    path: DocumentPath
    operations: tuple[PatchOperation, ...]


class DeleteData(Struct, frozen=True, gc=False):
    """Remove what is at `path`, and in a store of facts what the paths below it own; nothing there is fine."""

    path: DocumentPath


class SetPolicy(Struct, frozen=True):
    """Write one policy; `id` is its path in the repository."""

    id: str
    source: str


class DeletePolicy(Struct, frozen=True):
    """Remove one policy; removing what is not there is fine."""

    id: str


class ReplacePolicies(Struct, frozen=True):
    """Make `policies` (id to source, in the order to load them) the whole set that this agent keeps in the engine.

    `anew` says that others may have changed them there: a store that remembers what it wrote must look again.
    """

    policies: Mapping[str, str]
    anew: bool = False


DataChange: TypeAlias = SetData | PatchData | DeleteData
PolicyChange: TypeAlias = SetPolicy | DeletePolicy | ReplacePolicies
Change: TypeAlias = DataChange | PolicyChange


def policies_after(policies: Mapping[str, str], changes: Sequence[Change]) -> dict[str, str]:
    """Return a set of policies (id to source, in the order to load them) as it is after `changes`.

    Raises:
        TypeError: one of the changes is not about policies.
    """
    wanted = dict(policies)
    for change in changes:
        match change:
            case SetPolicy(policy_id, source):
                wanted[policy_id] = source
            case DeletePolicy(policy_id):
                wanted.pop(policy_id, None)
            case ReplacePolicies(replaced):
                wanted = dict(replaced)
            case _:
                raise TypeError(f"{type(change).__name__} is no policy change")
    return wanted


class Write(Struct, frozen=True, gc=False):
    """What one transaction writes: it takes effect as a whole or not at all, as far as the engine can do that."""

    transaction_id: str
    changes: tuple[Change, ...]


class Marker(Struct, frozen=True, gc=False):
    """What an agent leaves in the engine with every commit: whose life it is (`epoch`), how far it got (`number`)."""

    epoch: str
    number: int


class Guard(Struct, frozen=True, gc=False):
    """Compare and swap on the engine's marker.

    `expects` None means: whatever is there, nothing included. Otherwise a commit must fail with `StateLostError`, and
    nothing of it may land, if the engine's marker is not exactly `expects`. After the commit the marker is `leaves`.
    """

    expects: Marker | None
    leaves: Marker


class Changes(Struct, frozen=True):
    """One commit.

    Attributes:
        writes: the transactions, in the order in which they must take effect.
        state: what the transaction listeners add; it lands with the writes or not at all.
        guard: see `Guard`; None for policies, which travel in a lane of their own. A store that does not implement
            `SupportsMarker` ignores it.
        claims: paths that the agent owns from now on; a store that does not implement `SupportsOwnership` ignores them.
        releases: paths that it owns no longer; a path in both stays claimed.
    """

    writes: tuple[Write, ...]
    state: tuple[Change, ...] = ()
    guard: Guard | None = None
    claims: tuple[DocumentPath, ...] = ()
    releases: tuple[DocumentPath, ...] = ()

    def flat(self) -> list[Change]:
        """All changes in the order in which they take effect, the listeners' last."""
        return [change for write in self.writes for change in write.changes] + list(self.state)
