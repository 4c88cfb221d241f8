"""Routes that cut the agent off from its server and let it follow again, in offline mode."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from cabochon import AgentContext

__all__ = ["connectivity_routes"]


def connectivity_routes(agent: AgentContext, guards: Sequence[Middleware]) -> list[BaseRoute]:
    """Make `/opal-server/connectivity` and what is below it; `guards` check who asks."""
    switch = agent.connectivity

    def require_offline_mode(what: str) -> None:
        if not switch.offline_mode:
            raise HTTPException(400, f"Cannot {what} OPAL server connectivity: offline mode is not enabled")

    async def status(_request: Request) -> Response:
        return JSONResponse(
            {"opal_server_connectivity_disabled": switch.disabled, "offline_mode_enabled": switch.offline_mode}
        )

    async def disable(_request: Request) -> Response:
        require_offline_mode("disable")
        return JSONResponse({"status": "disabled" if await switch.disable() else "already_disabled"})

    async def enable(_request: Request) -> Response:
        require_offline_mode("enable")
        return JSONResponse({"status": "enabled" if await switch.enable() else "already_enabled"})

    path = "/opal-server/connectivity"
    return [
        Route(path, status, middleware=guards),
        Route(f"{path}/disable", disable, methods=["POST"], middleware=guards),
        Route(f"{path}/enable", enable, methods=["POST"], middleware=guards),
    ]
