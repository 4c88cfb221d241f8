"""BundleDelivery: most policies in one bundle that OPA fetches, and those that can't be in it by REST."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import anyio
import structlog

from cabochon.contract.powers import PolicyProblem
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import DeletePolicy, PolicyChange, ReplacePolicies, SetPolicy
from cabochon_opa.bundle.activation import Activation
from cabochon_opa.bundle.archive import Archive, build_archive
from cabochon_opa.bundle.opa_config import BUNDLE_NAME
from cabochon_opa.bundle.roots import overlapping, package_of, split_policies
from cabochon_opa.policies.delivery import DocumentPaths, PolicyDelivery

__all__ = ["BundleDelivery"]

log = structlog.get_logger()

_NEEDS_ANOTHER = "undefined function"
"""In what OPA says when a module calls another that is not there yet."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A policy set and how it is divided."""

    policies: Mapping[str, str]
    by_rest: Mapping[str, str]
    archive: Archive


class BundleDelivery:
    """A `PolicyDelivery`: returns from `write` once OPA's status has confirmed.

    The order of a write: the bundle, then REST. Activating a bundle makes OPA erase what REST put below its roots, in
    the same transaction, so that a module that moves into the bundle is in force at every moment. A module that moves
    out of it is not, from the activation until its PUT: OPA would refuse that before.

    Args:
        rest: delivers by REST.
        activation: brings archives into force.
        documents: where documents of ours are, those included that are on their way into OPA.
        ignored: ids that are others' to load.
    """

    def __init__(
        self,
        rest: PolicyDelivery,
        activation: Activation,
        documents: DocumentPaths,
        *,
        ignored: Container[str] = (),
    ) -> None:
        self._rest = rest
        self._activation = activation
        self._documents = documents
        self._ignored = ignored
        self._lock = anyio.Lock()
        self._policies: Mapping[str, str] = {}
        self._standing: _Target | None = None
        self._by_rest: Mapping[str, str] = {}
        self._roots: frozenset[DocumentPath] = frozenset()
        self._room: frozenset[DocumentPath] = frozenset()

    def blocks(self, paths: Iterable[DocumentPath]) -> bool:
        """Tell whether data can't be written at `paths` now, since the bundle has a root there or is about to.

        Ask before data is sent, and call `make_room` if so: OPA erases what is below a new root when it activates it.
        """
        return bool(overlapping(self._roots, paths))

    async def write(self, changes: Sequence[PolicyChange]) -> None:
        """Do all of `changes`, or leave in force what was; see `PolicyDelivery.write`."""
        async with self._lock:
            policies = _applied(self._policies, changes)
            await self._replace({key: source for key, source in policies.items() if key not in self._ignored})

    async def make_room(self, paths: Sequence[DocumentPath]) -> bool:
        """Publish the bundle without the roots that overlap `paths`, and put their modules by REST.

        Returns:
            False if none of our roots is there, or if the modules are refused by REST: the bundle is as it was then.

        Raises:
            StoreUnavailableError: see `write`.
        """
        async with self._lock:
            if not self.blocks(paths):
                return False
            before = self._room
            self._room |= set(paths)
            try:
                await self._replace(self._policies)
            except StoreRejectedError as err:
                self._room = before
                log.warning("bundle.no_room", paths=[str(path) for path in paths], error=str(err))
                return False
            log.info("bundle.made_room", paths=[str(path) for path in paths])
            return True

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with this whole set, as REST delivery finds it."""
        return await self._rest.validate(policies)

    def repository_id(self, opa_id: str) -> str:
        """Return the id without the name of the bundle, which OPA puts in front."""
        return opa_id.removeprefix(f"{BUNDLE_NAME}/")

    def forget(self) -> None:
        """OPA lost everything: it fetches the bundle again by itself, and the next `write` waits until it has."""
        self._activation.forget()
        self._rest.forget()

    # ------------------------------------------------------------------------------------------------------- steps

    async def _replace(self, policies: Mapping[str, str]) -> None:
        split = split_policies(policies, [*self._documents(), *self._room])
        standing = self._standing
        # Without a pause since the documents were counted: from here on, who writes data finds these roots.
        self._roots |= set(split.roots)
        before, self._policies = self._policies, policies
        try:
            target = _Target(policies, split.by_rest, await build_archive(split.bundled, split.roots))
            await self._bring(target)
        except StoreRejectedError:
            if standing is not None:
                await self._go_back(standing)
            self._roots = frozenset(standing.archive.roots if standing else ())
            self._policies = standing.policies if standing else before
            raise
        self._standing = target
        self._roots = frozenset(split.roots)

    async def _bring(self, target: _Target) -> None:
        try:
            await self._activation.activate(target.archive)
        except StoreRejectedError as err:
            if not target.by_rest or _NEEDS_ANOTHER not in str(err):
                raise
            await self._bring_rest_first(target)
        # Those that the bundle has taken over are gone already; REST must not want to put them back.
        taken_over = [DeletePolicy(policy_id) for policy_id in self._by_rest if policy_id not in target.by_rest]
        if taken_over:
            await self._rest.write(taken_over)
        self._by_rest = target.by_rest
        await self._rest.write([ReplacePolicies(target.by_rest)])

    async def _bring_rest_first(self, target: _Target) -> None:
        """Bring modules that call functions of modules that go by REST.

        If those are in the bundle until now, OPA takes them by REST only when it is empty: from then until the last
        step no policy of the bundle is in force.
        """
        standing = self._standing
        packages = {package for package in map(package_of, target.by_rest.values()) if package is not None}
        if standing is not None and overlapping(standing.archive.roots, packages):
            await self._activation.activate(await build_archive({}, ()))
        self._by_rest = {**self._by_rest, **target.by_rest}
        await self._rest.write([ReplacePolicies(self._by_rest)])
        await self._activation.activate(target.archive)

    async def _go_back(self, standing: _Target) -> None:
        try:
            await self._bring(standing)
        except StoreRejectedError as err:
            log.error("bundle.not_restored", error=str(err))  # noqa: TRY400 - the traceback would say no more


def _applied(policies: Mapping[str, str], changes: Sequence[PolicyChange]) -> dict[str, str]:
    after = dict(policies)
    for change in changes:
        if isinstance(change, ReplacePolicies):
            after = dict(change.policies)
        elif isinstance(change, SetPolicy):
            after[change.id] = change.source
        else:
            after.pop(change.id, None)
    return after
