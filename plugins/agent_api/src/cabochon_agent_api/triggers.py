"""Routes that make the agent load policies or base data again, now."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from cabochon import AgentContext, SourceError

__all__ = ["trigger_routes"]


def trigger_routes(agent: AgentContext, guards: Sequence[Middleware]) -> list[BaseRoute]:
    """Make the two triggers; 503 says why nothing will come of it."""

    async def policies(_request: Request) -> Response:
        if not agent.log().policies.enabled:
            raise HTTPException(503, "Policies are not kept in sync: OPAL_POLICY_UPDATER_ENABLED is false.")
        _refuse_if_cut_off()
        await agent.refresh_policies()
        return JSONResponse({"status": "ok"})

    async def data(_request: Request) -> Response:
        if not agent.log().data.enabled:
            raise HTTPException(503, "Data is not kept in sync: OPAL_DATA_UPDATER_ENABLED is false.")
        _refuse_if_cut_off()
        try:
            await agent.refresh_data()
        except SourceError as err:
            raise HTTPException(503, f"The list of base data sources can't be had: {err}") from err
        return JSONResponse({"status": "ok"})

    def _refuse_if_cut_off() -> None:
        if agent.connectivity.disabled:
            raise HTTPException(503, "The connection to the server is disabled: POST /opal-server/connectivity/enable")

    return [
        Route("/policy-updater/trigger", policies, methods=["POST"], middleware=guards),
        Route("/data-updater/trigger", data, methods=["POST"], middleware=guards),
    ]
