"""The application: the agent's own routes, and what plugins mount beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

import cabochon
from cabochon import AgentContext, HostedRoutes
from cabochon.kit.web.openapi_page import openapi_page
from cabochon.kit.web.pages import KeptFromPages, PageGuard
from cabochon_agent_api.callbacks import callback_routes
from cabochon_agent_api.connectivity import connectivity_routes
from cabochon_agent_api.health import health_routes
from cabochon_agent_api.openapi import description
from cabochon_agent_api.settings import AgentApiSettings
from cabochon_agent_api.system_opal import system_opal_routes
from cabochon_agent_api.tokens import Guard, open_to_all
from cabochon_agent_api.triggers import trigger_routes

__all__ = ["FREE_PATHS", "application"]

log = structlog.get_logger()

FREE_PATHS = frozenset({"/", "/healthcheck", "/healthy", "/ready", "/docs", "/openapi.json"})
"""What every web page may ask: there is nothing to learn but whether the agent is well."""


def application(
    settings: AgentApiSettings, agent: AgentContext, guard: Guard, pages: PageGuard, openness: str | None = None
) -> ASGIApp:
    """Make the ASGI application of one agent.

    Args:
        settings: those of the API.
        agent: whose it is.
        guard: says whose token is good.
        pages: says which web pages may ask.
        openness: what is to be said in health of who may do everything here; None for nothing.
    """
    hosted = agent.http_routes()
    guards = [Middleware(Guarded, guard=guard)]
    routes: list[BaseRoute] = [
        *health_routes(agent, openness),
        *system_opal_routes(agent),
        *trigger_routes(agent, guards),
        *callback_routes(agent, guards),
        *connectivity_routes(agent, guards),
        *_description_routes(agent, hosted),
        *(_metrics_routes(agent) if settings.metrics_enabled else []),
        *(route for one in hosted for route in _mounted(one, guard)),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(cast("Any", KeptFromPages), guard=pages),
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.allowed_origins),
                allow_credentials="*" not in settings.allowed_origins,
                allow_methods=["*"],
                allow_headers=["*"],
            ),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _failed},
    )


class Guarded:
    """Routes that only a listener may use."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token, then pass the request on."""
        if scope["type"] == "http":
            self._guard(Request(scope).headers.get("authorization"))
        await self._app(scope, receive, send)


def _mounted(routes: HostedRoutes, guard: Guard) -> list[BaseRoute]:
    app = Guarded(routes.app, open_to_all if routes.public else guard)
    # A mount is for what lies below its path, the route for the path itself.
    return [Route(routes.mount_path, app, name=routes.name), Mount(routes.mount_path, app, name=routes.name)]


def _description_routes(agent: AgentContext, hosted: Sequence[HostedRoutes]) -> list[BaseRoute]:
    document = description(hosted, system_opal=bool(system_opal_routes(agent)))

    async def openapi(_request: Request) -> Response:
        return JSONResponse(document)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(openapi_page(document))

    return [Route("/openapi.json", openapi), Route("/docs", docs)]


def _metrics_routes(agent: AgentContext) -> list[BaseRoute]:
    from cabochon.kit.web.prometheus import exposition  # noqa: PLC0415 - only if it is asked for

    def states() -> dict[str, bool]:
        now = agent.log()
        return {name: getattr(now, name) for name in ("healthy", "in_sync", "ready", "source_connected")}

    expose = exposition(agent.metrics, cabochon.__version__, states)

    async def metrics(request: Request) -> Response:
        body, content_type = expose(request.headers.get("accept", ""))
        return Response(body, media_type=content_type)

    return [Route("/metrics", metrics)]


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("agent_api.failed", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return JSONResponse({"error": "Uncaught server exception"}, 500)
