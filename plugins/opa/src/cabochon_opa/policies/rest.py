"""Policies into any OPA over its REST API, one by one: only what changed, each at a moment when it compiles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NoReturn

import structlog

from cabochon.contract.powers import PolicyProblem
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError, StoreUnavailableError
from cabochon.transactions.changes import DeletePolicy, PolicyChange, ReplacePolicies, SetPolicy
from cabochon_opa.client import OpaClient, RequestUnansweredError
from cabochon_opa.policies.check import PolicyCheck
from cabochon_opa.policies.known_policies import KnownPolicies
from cabochon_opa.policies.order import outline
from cabochon_opa.policies.own_packages import check_packages
from cabochon_opa.policies.paths_to_ignore import PathsToIgnore
from cabochon_opa.policies.policies_of_others import OpaPolicies, PoliciesOfOthers
from cabochon_opa.policies.policy_api import PolicyApi
from cabochon_opa.policies.transition import Refusals, Transition

__all__ = ["RestDelivery"]

log = structlog.get_logger()

_BOOKKEEPING = ("system", "cabochon")


class RestDelivery:
    """A `PolicyDelivery` that needs nothing of OPA but its REST API.

    Which policies are ours stands in OPA itself, at `/system/cabochon/policies`, so that the next life of the agent
    removes what this one wrote. The list is written before new policies and after deletes: at every moment it has at
    least what is ours. A whole set removes policies of others too, as `PoliciesOfOthers` says; a difference never does.

    Args:
        client: asks OPA.
        ignored: ids that are others' to load: neither written nor deleted.
        reserved: ids that are only for `put_one`; a policy of the repository with such an id is refused.
        check: judges whole sets beforehand; without it nothing is.
        keep_others: leave all policies of others alone.
    """

    def __init__(
        self,
        client: OpaClient,
        *,
        ignored: PathsToIgnore | None = None,
        reserved: Collection[str] = (),
        check: PolicyCheck | None = None,
        keep_others: bool = False,
    ) -> None:
        self._api = PolicyApi(client)
        self._known = KnownPolicies(self._api)
        self._singles = KnownPolicies(self._api)
        self._ignored = ignored or PathsToIgnore(())
        self._reserved = frozenset(reserved)
        self._own_packages: set[tuple[str, ...]] = {_BOOKKEEPING}
        """Packages of what `put_one` writes, and the agent's own data: a policy of the repository in one is refused."""
        self._own = set(reserved)
        self._others = PoliciesOfOthers(self._api, ignored=self._ignored, own=self._own, keep=keep_others)
        self._check = check
        self._listed: frozenset[str] | None = None
        self._ours: set[str] = set()
        # Others' policies that a whole set was to remove, as long as it has neither landed nor been taken back.
        self._doomed: set[str] = set()
        # What a refused write goes back to: the last whole set, whatever lost answers have left since.
        self._agreed: dict[str, str | None] = {}

    async def write(self, changes: Sequence[PolicyChange]) -> None:
        """Do all of `changes`, or put back what was.

        Raises:
            StoreRejectedError: OPA refuses some of them; all that was in force is so again.
            RequestUnansweredError: a request was not answered, or what was in force can't be put back: OPA holds a
                mixture.
            StoreUnavailableError: OPA does not answer, or was emptied meanwhile; some of it may be in force.
        """
        if any(isinstance(change, ReplacePolicies) and change.anew for change in changes):
            self._known.forget()
        life = self._known.life
        await self._read_list()
        survey = await self._survey(changes)
        self._known.check_life(life)
        wanted = self._wanted(changes, survey.doomed | self._doomed - survey.staying if survey else frozenset())
        if survey:
            self._known.learn_from(survey.sources, wanted, others=survey.doomed)
        await self._known.learn(wanted)
        for policy_id in wanted:
            self._agreed.setdefault(policy_id, self._known[policy_id])
        self._doomed.update(id_ for id_, source in wanted.items() if source is None and id_ not in self._ours)
        ours = frozenset(self._ours)
        self._ours.update(policy_id for policy_id, source in wanted.items() if source is not None)
        await self._write_list()
        transition = Transition(self._known, tuple(self._ours | self._doomed))
        refused = await transition.run(wanted)
        if refused:
            await self._go_back(transition, refused, ours)
        self._known.check_life(life)
        removed = [policy_id for policy_id in sorted(self._doomed) if wanted.get(policy_id, "") is None]
        self._settle(wanted)
        if removed:
            for policy_id in removed:
                # A listener may have written it just now.
                self._singles.drop(policy_id)
            log.warning("policies.of_others_removed", policies=removed)
        await self._write_list()
        self._known.check_life(life)

    async def put_one(self, policy_id: str, source: str) -> None:
        """Put one of the store's own policies in force, beside `write`; nothing to do if it is known to be.

        Raises:
            StoreRejectedError: OPA refuses it.
            StoreUnavailableError: see `OpaClient.ask`.
        """
        self._own.add(policy_id)
        self._own_packages.add(outline(source).package)
        if self._singles.get(policy_id) != source:
            refused = await self._singles.write(policy_id, source)
            if refused is not None:
                raise refused

    def blocks(self, _paths: Iterable[DocumentPath]) -> bool:
        """Tell that nothing is in the way: policies over REST own no paths."""
        return False

    def repository_id(self, opa_id: str) -> str:
        """Return the id as it is."""
        return opa_id

    async def make_room(self, _paths: Sequence[DocumentPath]) -> bool:
        """Return False: policies that are written over REST keep no data out."""
        return False

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what `opa check` finds in this whole set.

        Nothing if it can't be judged: no `opa` of the engine's version is at hand, paths are ignored, or policies of
        others are to stay in OPA, which these may call.
        """
        if self._check is None or self._ignored:
            return []
        problems = await self._check.problems(policies)
        return [] if problems and await self._have_company() else problems

    def forget(self) -> None:
        """OPA has lost what was in it: nothing is in force, and a write that is under way fails."""
        self._known.forget()
        self._singles.forget()
        self._agreed.clear()
        self._doomed.clear()
        self._listed = None

    async def _read_list(self) -> None:
        if self._listed is None:
            self._listed = await self._api.read_list()
            self._ours |= self._listed

    async def _survey(self, changes: Sequence[PolicyChange]) -> OpaPolicies | None:
        """Look for policies of others if some may have to go: with a whole set, and never with a difference."""
        if self._others.keep or not any(isinstance(change, ReplacePolicies) for change in changes):
            return None
        return await self._others.survey(self._ours)

    def _wanted(self, changes: Sequence[PolicyChange], others: Collection[str]) -> dict[str, str | None]:
        """Fold `changes` into id to source, None for what must go; puts in the order given.

        `others` are ids that a whole set removes besides ours.
        """
        wanted: dict[str, str | None] = {}
        for change in changes:
            match change:
                case SetPolicy(policy_id, source):
                    wanted[policy_id] = source
                case DeletePolicy(policy_id):
                    wanted[policy_id] = None
                case ReplacePolicies(policies):
                    gone = dict.fromkeys(sorted({*self._ours, *others, *wanted}.difference(policies)))
                    wanted = {**policies, **gone}
        for policy_id in self._reserved.intersection(wanted):
            if wanted.pop(policy_id) is not None:
                raise StoreRejectedError(
                    f"{policy_id} is where the healthcheck policy goes: give yours another name", path=policy_id
                )
        check_packages(
            {policy_id: source for policy_id, source in wanted.items() if policy_id not in self._ignored},
            self._own_packages,
        )
        return {
            policy_id: source
            for policy_id, source in wanted.items()
            if policy_id not in self._ignored and (source is not None or policy_id in self._ours or policy_id in others)
        }

    async def _write_list(self) -> None:
        ours = frozenset(self._ours)
        if self._listed != ours:
            life = self._known.life
            self._listed = None
            await self._api.write_list(ours)
            self._known.check_life(life)
            self._listed = ours

    def _settle(self, wanted: Mapping[str, str | None]) -> None:
        self._agreed.update(wanted)
        for policy_id, source in wanted.items():
            if source is None:
                self._ours.discard(policy_id)
                self._agreed.pop(policy_id)
                self._known.drop(policy_id)
        self._doomed.difference_update(wanted)
        self._ours = {policy_id for policy_id in self._ours if policy_id not in self._ignored}

    async def _go_back(self, transition: Transition, refused: Refusals, ours: frozenset[str]) -> NoReturn:
        reason = "; ".join(str(refusal) for refusal in refused.values())
        left = await transition.undo()
        if not left:
            await self._known.learn(self._agreed)
            left = await Transition(self._known, tuple(self._ours)).run(self._agreed)
        if left:
            failure = "; ".join(str(refusal) for refusal in left.values())
            log.error("policies.not_put_back", error=failure, policies=[step.id for step in left], refused=reason)
            self._known.forget()
            raise RequestUnansweredError(
                f"{reason} - AND the policies that were in force can't be put back: {failure}."
                " OPA holds a mixture of old and new policies"
            )
        self._ours = set(ours)
        self._let_go()
        await self._write_list()
        raise StoreRejectedError(reason, path=next(iter(refused)).id)

    def _let_go(self) -> None:
        """What is others' again may change without us from here on."""
        self._doomed.clear()
        for policy_id in self._agreed.keys() - self._ours:
            self._agreed.pop(policy_id)
            self._known.drop(policy_id)

    async def _have_company(self) -> bool:
        """Tell whether there are policies of others that a whole set of ours would leave where they are."""
        try:
            listed = self._listed if self._listed is not None else await self._api.read_list()
            survey = await self._others.survey(self._ours | listed)
        except StoreUnavailableError:
            return True
        return bool(survey.staying)
