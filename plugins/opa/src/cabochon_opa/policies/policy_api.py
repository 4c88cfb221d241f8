"""OPA's requests for policies, one by one, and the list of those that are ours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import msgspec
import structlog

from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon_opa.client import EngineAnswer, OpaClient, RequestUnansweredError
from cabochon_opa.refusals import policy_refusal, refusal

__all__ = ["ListedPolicy", "PolicyApi", "policy_url"]

T = TypeVar("T")

log = structlog.get_logger()

_LIST = "/v1/data/system/cabochon/policies"
_BUNDLES = "/v1/data/system/bundles"
_PLAIN = {"Content-Type": "text/plain"}
_FINE = 200, 204
_NOT_FOUND = 404


class _Policy(msgspec.Struct):
    raw: str = ""


class _GotPolicy(msgspec.Struct):
    result: _Policy


class _Term(msgspec.Struct):
    value: str


class _Package(msgspec.Struct):
    path: list[_Term]


class _Tree(msgspec.Struct):
    package: _Package


class _Everything(msgspec.Struct):
    """Of the syntax trees nothing is kept but the packages."""

    result: list[_Entry] = []


class _Entry(msgspec.Struct):
    id: str
    raw: str
    ast: _Tree | None = None


class _Manifest(msgspec.Struct):
    roots: list[str] | None = None


class _Bundle(msgspec.Struct):
    manifest: _Manifest = msgspec.field(default_factory=_Manifest)


class _GotBundles(msgspec.Struct):
    result: dict[str, _Bundle] = {}


class _GotList(msgspec.Struct):
    result: list[str] | None = None


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """One policy as OPA lists it.

    Attributes:
        id: what OPA calls it.
        source: its text.
        package: `a/b` for `package a.b`, as OPA itself has read it; None if it has not compiled that text.
    """

    id: str
    source: str
    package: DocumentPath | None


def policy_url(policy_id: str) -> str:
    """Return where OPA keeps the policy with this id: `/v1/policies/a/b%20c.rego`.

    An id that is no plain path (`../a.rego`, `a//b.rego`, `/a.rego`) has its slashes and dots escaped too, or somebody
    on the way would tidy it up.

    Raises:
        StoreRejectedError: OPA can't hold it; it is empty or ends with a slash.
    """
    segments = policy_id.split("/")
    if not segments[-1]:
        raise StoreRejectedError(
            f"OPA takes no policy with the id {policy_id!r}, which ends with a slash", path=policy_id
        )
    if {"", ".", ".."}.isdisjoint(segments):
        return f"/v1/policies/{quote(policy_id)}"
    return "/v1/policies/" + quote(policy_id, safe="").replace(".", "%2E")


class PolicyApi:
    """Reads and writes single policies; what OPA refuses is returned, not raised.

    Every method raises what `OpaClient.ask` raises.
    """

    def __init__(self, client: OpaClient) -> None:
        self._client = client

    async def read(self, policy_id: str) -> str | None:
        """Return the source that is in force, None if there is no such policy."""
        try:
            url = policy_url(policy_id)
        except StoreRejectedError:
            return None
        answer = await self._client.ask("GET", url)
        if answer.status == _NOT_FOUND:
            return None
        return _decoded(answer, _GotPolicy, f"GET {url}").result.raw

    async def put(self, policy_id: str, source: str) -> StoreRejectedError | None:
        """Write a policy and return why OPA refuses it, None if it is in force."""
        try:
            url = policy_url(policy_id)
        except StoreRejectedError as err:
            return err
        answer = await self._client.ask("PUT", url, content=source.encode(), headers=_PLAIN)
        return None if answer.status in _FINE else policy_refusal(answer, policy_id)

    async def delete(self, policy_id: str) -> StoreRejectedError | None:
        """Delete a policy and return why OPA refuses that, None if it is gone; it need not have been there."""
        answer = await self._client.ask("DELETE", policy_url(policy_id))
        return None if answer.status in {*_FINE, _NOT_FOUND} else policy_refusal(answer, policy_id)

    async def everything(self) -> list[ListedPolicy]:
        """Return all policies, others' too; OPA sends the syntax trees along, so ask rarely."""
        answer = await self._client.ask("GET", "/v1/policies")
        return [
            ListedPolicy(entry.id, entry.raw, _package(entry.ast))
            for entry in _decoded(answer, _Everything, "GET /v1/policies").result
        ]

    async def bundle_roots(self) -> list[DocumentPath]:
        """Return what the bundles own that OPA has loaded: it lets no policy there be written or deleted by REST."""
        answer = await self._client.ask("GET", _BUNDLES)
        bundles = _decoded(answer, _GotBundles, f"GET {_BUNDLES}").result
        return [
            DocumentPath(segment for segment in root.split("/") if segment)
            for bundle in bundles.values()
            for root in _everywhere(bundle.manifest.roots)
        ]

    async def read_list(self) -> frozenset[str]:
        """Return the ids on the list of our policies, which outlives the agent and not OPA."""
        answer = await self._client.ask("GET", _LIST)
        try:
            return frozenset(msgspec.json.decode(answer.body, type=_GotList).result or ())
        except msgspec.DecodeError as err:
            # Somebody else wrote there. What it said is lost, and it is written anew with the next policies.
            log.warning("policy_list.not_understood", path="/system/cabochon/policies", error=str(err))
            return frozenset()

    async def write_list(self, policy_ids: Collection[str]) -> None:
        """Write that list.

        Raises:
            StoreRejectedError: OPA refuses it.
        """
        answer = await self._client.ask("PUT", _LIST, content=msgspec.json.encode(sorted(policy_ids)))
        if answer.status not in _FINE:
            raise refusal(answer, "/system/cabochon/policies")


def _package(tree: _Tree | None) -> DocumentPath | None:
    """The package without `data`, with which each begins."""
    return None if tree is None else DocumentPath(term.value for term in tree.package.path[1:])


def _everywhere(roots: list[str] | None) -> list[str]:
    """A bundle that names no roots owns everything."""
    return [""] if roots is None else roots


def _decoded(answer: EngineAnswer, kind: type[T], what: str) -> T:
    if answer.status in _FINE:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except msgspec.DecodeError as err:
            raise RequestUnansweredError(f"OPA's answer to {what} is not understood: {err}") from err
    raise RequestUnansweredError(f"OPA answered {what} with {answer.status}")
