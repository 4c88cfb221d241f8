"""Health probes, with the peer's answers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from cabochon import AgentContext

__all__ = ["health_routes"]


def health_routes(agent: AgentContext, openness: str | None) -> list[BaseRoute]:
    """Make `/`, `/healthcheck` and `/healthy`, which say the same, `openness` too, and `/ready`."""
    more = {} if openness is None else {"open": openness}

    async def healthy(_request: Request) -> Response:
        now = agent.log()
        if now.healthy:
            return JSONResponse({"status": "ok", "online": True, **more})
        if agent.connectivity.offline_mode and now.ready:
            # What was known last is served: that is what offline mode is for.
            return JSONResponse({"status": "ok", "online": False, **more})
        return JSONResponse({"status": "unavailable", **more}, 503)

    async def ready(_request: Request) -> Response:
        if agent.log().ready:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable"}, 503)

    return [*(Route(path, healthy) for path in ("/", "/healthcheck", "/healthy")), Route("/ready", ready)]
