"""`GET /metrics`: what the server counts."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cabochon.contract.metrics import Metrics
from cabochon_opal_server import __version__

__all__ = ["metrics_routes"]


def metrics_routes(metrics: Metrics) -> list[Route]:
    """Make the route; it is open, as scrapers expect."""
    from cabochon.kit.web.prometheus import exposition  # noqa: PLC0415 - only if it is asked for

    expose = exposition(metrics, __version__)

    async def shown(request: Request) -> Response:
        body, content_type = expose(request.headers.get("accept", ""))
        return Response(body, media_type=content_type)

    return [Route("/metrics", shown, methods=["GET"])]
