"""The HTTP routes of scopes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cabochon import BackboneError, NewRecord
from cabochon.schemas import DataUpdate
from cabochon_opal_server.data.publishing import InvalidUpdateError, UpdateLimits, prepared, record_of
from cabochon_opal_server.policy.policies import NotLoadedError
from cabochon_opal_server.scopes.scope import Scope, described, fault_of
from cabochon_opal_server.scopes.scopes import Scopes
from cabochon_opal_server.web.answers import json_answer, operation, unprocessable
from cabochon_opal_server.web.bodies import body_as

__all__ = ["ScopeParts", "openapi", "routes"]

log = structlog.get_logger()

_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeParts:
    """What the routes need of the rest.

    Attributes:
        scopes: all of them.
        publish: puts a record into the log and returns its number.
        largest_update: of a data update, in bytes.
        limits: what a data update may be.
        base_data: answers with the sources of a server without scopes, for scopes that do not exist.
        permit_managing: raises HTTPException unless the request's token may manage this scope; None for all.
        manageable: tells which scopes it may be shown; raises HTTPException unless it is a data source's.
        permit_publishing: raises HTTPException unless it may publish to these topics of this scope.
        permit_reading: raises HTTPException unless it may read this scope.
    """

    scopes: Scopes
    publish: Callable[[NewRecord], Awaitable[int]]
    largest_update: int
    limits: UpdateLimits
    base_data: _Endpoint
    permit_managing: Callable[[Request, str | None], None]
    manageable: Callable[[Request], Callable[[str], bool]]
    permit_publishing: Callable[[Request, str, tuple[str, ...]], None]
    permit_reading: Callable[[Request, str], None]


def routes(parts: ScopeParts) -> list[Route]:
    """Make the routes."""
    return [
        Route("/scopes", _answered(_put(parts)), methods=["PUT"]),
        Route("/scopes", _answered(_all(parts)), methods=["GET"]),
        Route("/scopes/refresh", _answered(_refresh(parts)), methods=["POST"]),
        Route("/scopes/{scope_id}", _answered(_one(parts)), methods=["GET"]),
        Route("/scopes/{scope_id}", _answered(_delete(parts)), methods=["DELETE"]),
        Route("/scopes/{scope_id}/refresh", _answered(_refresh(parts)), methods=["POST"]),
        Route("/scopes/{scope_id}/policy", _answered(_policy(parts)), methods=["GET"]),
        Route("/scopes/{scope_id}/data", _answered(_data(parts)), methods=["GET"]),
        Route("/scopes/{scope_id}/data/update", _answered(_update(parts)), methods=["POST"]),
    ]


def _answered(endpoint: _Endpoint) -> _Endpoint:
    """Say it where scopes can't be read or written now."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BackboneError as err:
            raise HTTPException(503, f"the backbone is away, try again: {err}") from err

    return answered


def _put(parts: ScopeParts) -> _Endpoint:
    async def put(request: Request) -> Response:
        parts.manageable(request)
        scope = await body_as(Scope, request)
        parts.permit_managing(request, scope.scope_id)
        fault = fault_of(scope)
        if fault is not None:
            raise unprocessable(fault[0], "value_error", *fault[1])
        await parts.scopes.put(scope)
        return Response(status_code=201)

    return put


def _all(parts: ScopeParts) -> _Endpoint:
    async def every(request: Request) -> Response:
        may_see = parts.manageable(request)
        scopes = await parts.scopes.all()
        trouble = parts.scopes.trouble()
        unreadable = trouble.keys() - {scope.scope_id for scope in scopes}
        shown = [described(scope, trouble.get(scope.scope_id)) for scope in scopes]
        shown += [{"scope_id": name, "error": trouble[name]} for name in sorted(unreadable)]
        return json_answer([one for one in shown if may_see(one["scope_id"])])

    return every


def _one(parts: ScopeParts) -> _Endpoint:
    async def one(request: Request) -> Response:
        parts.permit_managing(request, request.path_params["scope_id"])
        scope = await _existing(parts, request)
        return json_answer(described(scope, parts.scopes.trouble().get(scope.scope_id)))

    return one


def _delete(parts: ScopeParts) -> _Endpoint:
    async def delete(request: Request) -> Response:
        parts.permit_managing(request, request.path_params["scope_id"])
        await parts.scopes.delete(request.path_params["scope_id"])
        return Response(status_code=204)

    return delete


def _refresh(parts: ScopeParts) -> _Endpoint:
    async def refresh(request: Request) -> Response:
        parts.permit_managing(request, request.path_params.get("scope_id"))
        scope = await _existing(parts, request) if "scope_id" in request.path_params else None
        await parts.scopes.refresh(None if scope is None else scope.scope_id)
        return Response()

    return refresh


def _policy(parts: ScopeParts) -> _Endpoint:
    async def policy(request: Request) -> Response:
        scope_id = request.path_params["scope_id"]
        parts.permit_reading(request, scope_id)
        found = await parts.scopes.policies(scope_id)
        if found is None:
            if scope_id in parts.scopes.trouble():
                raise HTTPException(503, "the scope can't be followed: GET /scopes says why")
            raise _missing(scope_id)
        scope, policies = found
        if scope.scope_id != scope_id:
            log.warning("scope.missing", scope=scope_id, served=scope.scope_id)
        try:
            folders = policies.existing(scope.policy.directories)
            made = await policies.bundle(folders, request.query_params.get("base_hash"))
        except NotLoadedError as err:
            raise HTTPException(503, "the scope's policy repo is not ready") from err
        return Response(made, media_type="application/json")

    return policy


def _data(parts: ScopeParts) -> _Endpoint:
    async def data(request: Request) -> Response:
        scope_id = request.path_params["scope_id"]
        parts.permit_reading(request, scope_id)
        scope = await parts.scopes.get(scope_id)
        if scope is None:
            log.warning("scope.missing", scope=scope_id, served=None)
            return await parts.base_data(request)
        return json_answer(scope.data)

    return data


def _update(parts: ScopeParts) -> _Endpoint:
    async def update(request: Request) -> Response:
        parts.manageable(request)
        scope_id = request.path_params["scope_id"]
        given = await body_as(DataUpdate, request, largest=parts.largest_update)
        parts.permit_publishing(request, scope_id, tuple(topic for entry in given.entries for topic in entry.topics))
        entries = tuple(
            replace(entry, topics=tuple(f"data:{topic}" for topic in entry.topics)) for entry in given.entries
        )
        try:
            record = record_of(prepared(replace(given, entries=entries), parts.limits))
        except InvalidUpdateError as err:
            raise unprocessable(str(err), "value_error", *err.location) from err
        topics = tuple(f"{scope_id}:{topic}" for topic in record.topics)
        number = await parts.publish(NewRecord(kind=record.kind, topics=topics, body=record.body))
        log.info("scope.data_published", scope=scope_id, number=number, topics=sorted(topics)[:20])
        return json_answer(None)

    return update


async def _existing(parts: ScopeParts, request: Request) -> Scope:
    scope_id = request.path_params["scope_id"]
    scope = await parts.scopes.get(scope_id)
    if scope is None:
        raise _missing(scope_id)
    return scope


def _missing(scope_id: str) -> HTTPException:
    return HTTPException(404, f"No such scope: {scope_id}")


def openapi() -> dict[str, Any]:
    """Describe the routes, as OpenAPI 3.1 `paths`."""
    tag, missing = "Scopes", {"404": "There is no such scope."}

    def told(name: str, summary: str, **more: Any) -> dict[str, Any]:
        return operation(tag, name, summary, **more)

    update = {"$ref": "#/components/schemas/DataUpdate"}
    return {
        "/scopes": {
            "get": told("get_all_scopes", "List the scopes, without credentials"),
            "put": told("put_scope", "Make a scope, or another of it", body={"type": "object"}),
        },
        "/scopes/refresh": {"post": told("sync_all_scopes", "Look at all repositories now")},
        "/scopes/{scope_id}": {
            "get": told("get_scope", "Show a scope, without credentials", answers=missing),
            "delete": told("delete_scope", "Forget a scope"),
        },
        "/scopes/{scope_id}/refresh": {"post": told("refresh_scope", "Look at its repository now", answers=missing)},
        "/scopes/{scope_id}/policy": {"get": told("get_scope_policy", "Get its policies", answers=missing)},
        "/scopes/{scope_id}/data": {"get": told("get_scope_data_config", "Get its base data sources")},
        "/scopes/{scope_id}/data/update": {
            "post": told("publish_scope_data", "Publish a data update to it", body=update)
        },
    }
