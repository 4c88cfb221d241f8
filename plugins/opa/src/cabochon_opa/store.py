"""OpaPolicyStore: one OPA as the contract wants it, over OPA's REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol, TypeVar

import msgspec
import structlog

from cabochon.contract.policy_store import PolicyStore, StoreTraits
from cabochon.contract.powers import PolicyProblem
from cabochon.documents.path import DocumentPath
from cabochon.errors import StateLostError, StoreRejectedError, StoreUnavailableError, UnsupportedOperationError
from cabochon.transactions.changes import Change, Changes, Marker, PolicyChange, SetPolicy
from cabochon.transactions.commit_result import STATE, Applied, Blame, CommitResult, Refused, Unknown
from cabochon_opa.client import EngineAnswer, OpaClient, RequestUnansweredError
from cabochon_opa.data.plan import Place
from cabochon_opa.data.planner import PATCH_OPERATIONS
from cabochon_opa.data.writer import DataWriter
from cabochon_opa.engine_labels import engine_labels
from cabochon_opa.policies.delivery import PolicyDelivery

__all__ = ["OpaPolicyStore", "SinglePolicies"]

log = structlog.get_logger()

T = TypeVar("T")

_SYSTEM = DocumentPath(("system",))
_OK = 200


class SinglePolicies(Protocol):
    """Writes policies that belong to a commit of data, such as the healthcheck policy."""

    async def put_one(self, policy_id: str, source: str) -> None:
        """Write one policy, unless that text is known to be in force.

        Raises:
            StoreRejectedError: OPA refuses it.
            StoreUnavailableError: OPA does not answer.
        """
        ...

    def forget(self) -> None:
        """Nothing is known to be in force any more."""
        ...


class OpaPolicyStore(PolicyStore):
    """Every power but none of the engine's own: it needs nothing in OPA but its REST API.

    Args:
        client: asks OPA.
        delivery: how the policy bundle gets into OPA.
        single: writes the listeners' policies.
    """

    traits: ClassVar[StoreTraits] = StoreTraits(
        policy_unit="files", data_unit="documents", atomic="commit", max_changes=500, reserved=(_SYSTEM,)
    )

    def __init__(self, client: OpaClient, data: DataWriter, delivery: PolicyDelivery, single: SinglePolicies) -> None:
        self._client = client
        self._data = data
        self._delivery = delivery
        self._single = single

    @property
    def patch_operations(self) -> frozenset[str]:
        """Those that OPA knows."""
        return PATCH_OPERATIONS

    # ------------------------------------------------------------------------------------------------ committing

    async def commit(self, changes: Changes) -> CommitResult:
        """Write `changes`: documents, state and guard in one patch, policies one after the other or as a bundle."""
        try:
            if any(isinstance(change, PolicyChange) for write in changes.writes for change in write.changes):
                return await self._commit_policies(changes)
            return await self._commit_data(changes)
        except RequestUnansweredError as err:
            return CommitResult.unknown(changes, err)
        except StateLostError:
            self._forget_policies()
            raise

    def _forget_policies(self) -> None:
        self._delivery.forget()
        self._single.forget()

    async def _commit_policies(self, changes: Changes) -> CommitResult:
        policies: list[PolicyChange] = []
        for number, write in enumerate(changes.writes):
            for at, change in enumerate(write.changes):
                if not isinstance(change, PolicyChange):
                    error = UnsupportedOperationError(
                        f"{change.path}: OPA can't take documents and policies at once", path=str(change.path)
                    )
                    return CommitResult.refused(changes, error, blame=Blame(number, at))
                policies.append(change)
        try:
            await self._delivery.write(policies)
        except StoreRejectedError as err:
            return CommitResult.refused(changes, err)
        return CommitResult.applied(changes)

    async def _commit_data(self, changes: Changes) -> CommitResult:
        if changes.guard is not None and changes.guard.expects is None:
            self._forget_policies()
        before: list[tuple[Blame, SetPolicy]] = []
        after: list[tuple[Blame, SetPolicy]] = []
        documents: list[Place] = []
        for blame, change in _numbered(changes):
            if isinstance(change, SetPolicy):
                (after if _stands_behind_a_document(documents) else before).append((blame, change))
            elif isinstance(change, PolicyChange):
                error = UnsupportedOperationError(f"a listener can't do {type(change).__name__} in OPA")
                return CommitResult.refused(changes, error, blame=blame)
            else:
                documents.append(Place(blame, change))
        for blame, policy in before:
            try:
                await self._single.put_one(policy.id, policy.source)
            except RequestUnansweredError as err:
                # No document has landed, and the policy is written again by the next try.
                raise StoreUnavailableError(str(err)) from err
            except StoreRejectedError as err:
                return CommitResult.refused(changes, err, blame=blame)
        result = await self._data.commit(changes, documents)
        return await self._policies_after(changes, after) if result.landed and after else result

    async def _policies_after(self, changes: Changes, policies: Sequence[tuple[Blame, SetPolicy]]) -> CommitResult:
        """Write the policies that follow the documents; these are in force whatever becomes of the policies."""
        landed = (Applied(),) * len(changes.writes)
        for blame, policy in policies:
            try:
                await self._single.put_one(policy.id, policy.source)
            except StoreRejectedError as err:
                return CommitResult(landed, state=Refused(err), blame=blame)
            except StoreUnavailableError as err:
                return CommitResult(landed, state=Unknown(err))
        return CommitResult.applied(changes)

    # ---------------------------------------------------------------------------------------------------- asking

    async def health(self) -> None:
        """Return if OPA answers `GET /health`."""
        answer = await self._client.ask("GET", "/health")
        if answer.status != _OK:
            raise StoreUnavailableError(f"OPA answers /health with {answer.status}")

    async def read_marker(self) -> Marker | None:
        """Return the marker of the last guarded commit."""
        return await self._data.read_marker()

    async def owned_paths(self) -> Sequence[DocumentPath]:
        """Return the paths that agents claimed."""
        return await self._data.owned_paths()

    async def restart_token(self) -> str:
        """Return the id that OPA gives itself when it starts."""
        return (await engine_labels(self._client)).id

    async def get_data(self, path: DocumentPath) -> bytes | None:
        """Return the raw JSON at `path`, with what rules make there; the root comes without `/system`."""
        if not path:
            return await self.export_data()
        # As a query, because an empty segment can't be written in the path of a URL.
        where = "".join(f"[{msgspec.json.encode(segment).decode()}]" for segment in path)
        body = msgspec.json.encode({"query": f"found := data{where}"})
        found = _decoded(await self._client.ask("POST", "/v1/query", content=body), _Found).result
        return bytes(found[0].found) if found else None

    async def get_policies(self) -> Mapping[str, str]:
        """Return the source of every policy by id; slow, for OPA sends the syntax trees along."""
        answer = await self._client.ask("GET", "/v1/policies")
        return {self._delivery.repository_id(policy.id): policy.raw for policy in _decoded(answer, _Policies).result}

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with a set of policies, as far as that can be known before it is written."""
        return await self._delivery.validate(policies)

    async def export_data(self) -> bytes:
        """Return all documents, with what rules make of them, without `/system`."""
        return bytes(_decoded(await self._client.ask("GET", "/v1/data"), _Exported).result)


def _stands_behind_a_document(documents: Sequence[Place]) -> bool:
    """Tell whether a policy that follows these documents has to wait for them: only behind one of a listener's own.

    Policies beside data are the listeners', whose changes come last. One that a listener puts before its document is
    in force when that lands; one that it puts behind is written when the patch with all documents has landed.
    """
    return bool(documents) and documents[-1].blame.write == STATE


def _numbered(changes: Changes) -> Iterator[tuple[Blame, Change]]:
    for number, write in enumerate(changes.writes):
        for at, change in enumerate(write.changes):
            yield Blame(number, at), change
    for at, change in enumerate(changes.state):
        yield Blame(STATE, at), change


class _FoundValue(msgspec.Struct):
    found: msgspec.Raw


class _Found(msgspec.Struct):
    result: list[_FoundValue] = []


class _Policy(msgspec.Struct):
    id: str
    raw: str


class _Policies(msgspec.Struct):
    result: list[_Policy] = []


class _Exported(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"{}")


def _decoded(answer: EngineAnswer, kind: type[T]) -> T:
    if answer.status != _OK:
        raise StoreUnavailableError(f"OPA answers with {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.DecodeError as err:
        raise StoreUnavailableError(f"OPA answers with what is no {kind.__name__}: {err}") from err
