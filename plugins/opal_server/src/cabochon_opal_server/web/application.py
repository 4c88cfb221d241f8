"""The application: every room's routes, the WebSocket endpoint, and their description."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from cabochon.kit.web.openapi_page import openapi_page
from cabochon.kit.web.pages import KeptFromPages, PageGuard
from cabochon_opal_server import __version__
from cabochon_opal_server.web.answers import json_answer, operation
from cabochon_opal_server.web.bodies import Bodies

__all__ = ["FREE_PATHS", "application"]

log = structlog.get_logger()

FREE_PATHS = frozenset({"/", "/healthcheck", "/loadlimit", "/openapi.json", "/docs", "/redoc"})
"""What every web page may ask: there is nothing to learn but that the server is up."""


def application(
    routes: Sequence[BaseRoute],
    described: Iterable[Mapping[str, Any]],
    schemas: Mapping[str, Any],
    origins: Sequence[str],
    pages: PageGuard,
    openness: str | None,
    problems: Callable[[], Sequence[str]],
    bodies: Bodies,
) -> ASGIApp:
    """Make the ASGI application.

    Args:
        routes: those of all rooms.
        described: the OpenAPI `paths` of all rooms.
        schemas: the OpenAPI schemas that they refer to.
        origins: those of web pages that may call it.
        pages: refuses the others, on all but the free paths.
        openness: what is to be said in health of who may do everything here; None for nothing.
        problems: what is to be said there of what does not work now; it is for everyone, and names no secrets.
        bodies: what requests' bodies are read by.
    """
    document = _description(described, schemas)

    status = {"status": "ok"} if openness is None else {"status": "ok", "open": openness}

    async def up(_request: Request) -> Response:
        found = problems()
        return json_answer({**status, "problems": found} if found else status)

    async def openapi(_request: Request) -> Response:
        return JSONResponse(document)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(openapi_page(document))

    made = Starlette(
        routes=[
            Route("/", up),
            Route("/healthcheck", up),
            Route("/loadlimit", _no_limit),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/redoc", docs),
            *routes,
        ],
        middleware=[
            Middleware(cast("Any", KeptFromPages), guard=pages),
            Middleware(
                CORSMiddleware,
                allow_origins=list(origins),
                allow_credentials="*" not in origins,
                allow_methods=["*"],
                allow_headers=["*"],
            ),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _failed},
    )
    made.state.bodies = bodies
    return made


async def _no_limit(_request: Request) -> Response:
    """Let everyone come at once: a client of the peer may ask before it connects."""
    return json_answer(None)


def _description(described: Iterable[Mapping[str, Any]], schemas: Mapping[str, Any]) -> dict[str, Any]:
    up = {"get": operation("Health", "healthcheck", "Is the server up?", protected=False)}
    paths: dict[str, Any] = {"/healthcheck": up}
    for one in described:
        paths |= one
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cabochon server",
            "description": "Publishes policy and data updates to agents, and knows who has what.",
            "version": __version__,
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(schemas),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("request.failed", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return JSONResponse({"error": "Uncaught server exception"}, 500)
