"""Policies in OPA that this agent did not write: which of them a whole set removes, as it does in OPAL."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass

from cabochon_opa.policies.policy_api import ListedPolicy, PolicyApi

__all__ = ["OpaPolicies", "PoliciesOfOthers"]

_SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class OpaPolicies:
    """What is in OPA, ours included.

    Attributes:
        sources: id to source of all of it.
        doomed: ids of others' policies that do not belong to a whole set of ours, and go with the next one.
        staying: ids of others' policies that are to stay.
    """

    sources: Mapping[str, str]
    doomed: frozenset[str]
    staying: frozenset[str]


class PoliciesOfOthers:
    """Looks through OPA for policies of others.

    These stay: ignored ones, what OPA keeps for itself in `system` and below, and what it would not let us delete,
    since a bundle that it has loaded owns the place. All others would stay in force for ever, though no repository has
    them any more: what an opal-client has left, for instance.

    Args:
        api: asks OPA.
        ignored: ids that are others' to load.
        own: ids of single policies of the store's own, not of a set; more may be added at any time.
        keep: let all of them stay.
    """

    def __init__(self, api: PolicyApi, *, ignored: Container[str], own: Container[str], keep: bool = False) -> None:
        self._api = api
        self._ignored = ignored
        self._own = own
        self.keep = keep

    async def survey(self, ours: Collection[str]) -> OpaPolicies:
        """Look at all that is there; `ours` are the ids of what this agent wrote, in an earlier life too.

        Raises what `OpaClient.ask` raises.
        """
        listed = await self._api.everything()
        others = [policy for policy in listed if policy.id not in ours and policy.id not in self._own]
        candidates = [policy for policy in others if not self.keep and self._may_go(policy)]
        roots = await self._api.bundle_roots() if candidates else []
        doomed = frozenset(
            policy.id
            for policy in candidates
            if policy.package is not None and not any(policy.package.overlaps(root) for root in roots)
        )
        staying = frozenset(policy.id for policy in others) - doomed
        return OpaPolicies({policy.id: policy.source for policy in listed}, doomed, staying)

    def _may_go(self, policy: ListedPolicy) -> bool:
        if policy.id in self._ignored or policy.package is None:
            return False
        return policy.package[:1] != (_SYSTEM,)
