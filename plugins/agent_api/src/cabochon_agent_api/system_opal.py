"""The health document at OPA's path, for engines that hold no documents, so that nobody can ask them for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cabochon import AgentContext
from cabochon.documents import json_values

__all__ = ["SYSTEM_OPAL", "system_opal_routes"]

SYSTEM_OPAL = "/v1/data/system/opal"


def system_opal_routes(agent: AgentContext) -> list[BaseRoute]:
    """Make `GET` and `POST /v1/data/system/opal`, and what is below; nothing where the engine itself can be asked.

    The answers are OPA's: `{"result": ...}`, and `{}` for what is not there. An input in a POST is of no meaning.
    """
    if agent.store_traits.data_unit == "documents":
        return []

    async def document(request: Request) -> Response:
        segments = [segment for segment in request.path_params.get("below", "").split("/") if segment]
        answer = _at(agent.log().as_document(), segments)
        return Response(json_values.encode(answer), media_type="application/json")

    return [Route(path, document, methods=["GET", "POST"]) for path in (SYSTEM_OPAL, f"{SYSTEM_OPAL}/{{below:path}}")]


def _at(value: object, segments: list[str]) -> dict[str, object]:
    """Look into the document as OPA does: members by name, elements by index."""
    for segment in segments:
        if isinstance(value, Mapping) and segment in value:
            value = cast("Mapping[str, Any]", value)[segment]
        elif isinstance(value, list) and segment.isdecimal() and int(segment) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(segment)]
        else:
            return {}
    return {"result": value}
