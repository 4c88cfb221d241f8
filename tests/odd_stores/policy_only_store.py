"""A store for an engine that keeps policies and no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from anyio.lowlevel import checkpoint

from cabochon.contract.policy_store import PolicyStore, StoreTraits
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreUnavailableError, UnsupportedOperationError
from cabochon.transactions.changes import Changes, DeletePolicy, ReplacePolicies, SetPolicy, policies_after
from cabochon.transactions.commit_result import STATE, Blame, CommitResult


@dataclass
class PolicyOnlyEngine:
    """Policies: source by id."""

    policies: dict[str, str] = field(default_factory=dict[str, str])
    up: bool = True


class PolicyOnlyStore(PolicyStore):
    """Refuses all data, and says of which path and why."""

    traits: ClassVar[StoreTraits] = StoreTraits(policy_unit="files", data_unit="none", atomic="commit")

    def __init__(self, engine: PolicyOnlyEngine) -> None:
        self.engine = engine

    async def commit(self, changes: Changes) -> CommitResult:
        """Write the policies, all or nothing."""
        await checkpoint()
        await self.health()
        planned = dict(self.engine.policies)
        groups = [(number, write.changes) for number, write in enumerate(changes.writes)]
        for number, group in [*groups, (STATE, changes.state)]:
            for index, change in enumerate(group):
                match change:
                    case SetPolicy() | DeletePolicy() | ReplacePolicies():
                        planned = policies_after(planned, [change])
                    case _:
                        path = str(change.path)
                        error = UnsupportedOperationError(
                            f"{path}: this engine keeps no data, only policies", path=path
                        )
                        return CommitResult.refused(changes, error, blame=Blame(number, index))
        self.engine.policies = planned
        return CommitResult.applied(changes)

    async def health(self) -> None:
        """Return if the engine answers."""
        if not self.engine.up:
            raise StoreUnavailableError("the policy engine is down")

    async def get_data(self, path: DocumentPath) -> bytes | None:  # there is nothing anywhere
        """Return None."""
        await self.health()
        return None

    async def get_policies(self) -> Mapping[str, str]:
        """Return the source of every policy by id."""
        await self.health()
        return dict(self.engine.policies)
