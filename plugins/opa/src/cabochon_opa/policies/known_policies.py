"""What is known to be in OPA."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from cabochon.errors import StoreRejectedError, StoreUnavailableError
from cabochon_opa.policies.policy_api import PolicyApi

__all__ = ["KnownPolicies"]

_EMPTIED = "OPA was emptied while policies were written into it"


class KnownPolicies:
    """Policies in OPA as we last saw them; writes go through here, so a lost answer leaves doubt about one id only.

    An id is either known to have a source, or known to be absent (None), or not known.
    """

    def __init__(self, api: PolicyApi) -> None:
        self._api = api
        self._sources: dict[str, str | None] = {}
        self._life = 0

    @property
    def life(self) -> int:
        """Changes whenever everything is forgotten."""
        return self._life

    def forget(self) -> None:
        """Nothing is known any more, and no write that is under way will be believed."""
        self._sources.clear()
        self._life += 1

    def __getitem__(self, policy_id: str) -> str | None:
        """The source that is in force, None if there is none.

        Raises:
            StoreUnavailableError: that is not known, because all was forgotten since it was learned.
        """
        try:
            return self._sources[policy_id]
        except KeyError:
            raise StoreUnavailableError(_EMPTIED) from None

    def get(self, policy_id: str) -> str | None:
        """The source that is known to be in force, None if there is none or it is not known."""
        return self._sources.get(policy_id)

    def drop(self, policy_id: str) -> None:
        """Know nothing of one policy any more; for one that is gone for good."""
        self._sources.pop(policy_id, None)

    def check_life(self, life: int) -> None:
        """Raise `StoreUnavailableError` if all was forgotten since `life`."""
        if life != self._life:
            raise StoreUnavailableError(_EMPTIED)

    async def learn(self, policy_ids: Iterable[str]) -> None:
        """Ask OPA for those that are not known; raises what `OpaClient.ask` raises."""
        for policy_id in policy_ids:
            if policy_id not in self._sources:
                life = self._life
                source = await self._api.read(policy_id)
                self._note(policy_id, source, life)

    def learn_from(self, listing: Mapping[str, str], policy_ids: Iterable[str], *, others: Collection[str]) -> None:
        """Take those that are not known from a listing of all of OPA, id to source; spares a question for each.

        Args:
            listing: what OPA has just said.
            policy_ids: whom we want to know.
            others: those of them that others may have changed since we looked.
        """
        for policy_id in policy_ids:
            if policy_id in others or policy_id not in self._sources:
                self._sources[policy_id] = listing.get(policy_id)

    async def write(self, policy_id: str, source: str | None) -> StoreRejectedError | None:
        """Put `source` in force, or delete the policy if it is None; return why OPA refuses, None if it is done.

        Raises:
            StoreUnavailableError: see `OpaClient.ask`; also if all was forgotten meanwhile.
        """
        life = self._life
        was_known = policy_id in self._sources
        before = self._sources.pop(policy_id, None)
        refused = await (self._api.delete(policy_id) if source is None else self._api.put(policy_id, source))
        if refused is None:
            self._note(policy_id, source, life)
        elif was_known:
            self._note(policy_id, before, life)
        return refused

    def _note(self, policy_id: str, source: str | None, life: int) -> None:
        self.check_life(life)
        self._sources[policy_id] = source
