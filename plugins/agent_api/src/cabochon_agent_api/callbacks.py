"""The register of update callbacks over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cabochon import AgentContext
from cabochon.schemas import CallbackEntry, callback_fault
from cabochon_agent_api.answers import body_as, unprocessable

__all__ = ["callback_routes"]


def callback_routes(agent: AgentContext, guards: Sequence[Middleware]) -> list[BaseRoute]:
    """Make `/callbacks` and what is below it; `guards` check who asks."""
    register = agent.callbacks

    async def list_all(_request: Request) -> Response:
        return _json(register.entries())

    async def put(request: Request) -> Response:
        entry = await body_as(CallbackEntry, request)
        fault = callback_fault(entry.url, entry.config)
        if fault is not None:
            raise unprocessable(fault, "value_error", "config")
        return _json(register.put(entry))

    async def get(request: Request) -> Response:
        entry = register.get(request.path_params["key"])
        if entry is None:
            raise HTTPException(404, "no callback found with this key")
        return _json(entry)

    async def remove(request: Request) -> Response:
        if not register.remove(request.path_params["key"]):
            raise HTTPException(404, "no callback found with this key")
        return Response(status_code=204)

    return [
        Route("/callbacks", list_all, middleware=guards),
        Route("/callbacks", put, methods=["POST"], middleware=guards),
        Route("/callbacks/{key}", get, middleware=guards),
        Route("/callbacks/{key}", remove, methods=["DELETE"], middleware=guards),
    ]


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
