"""Who is connected: `/statistics`, `/stats`, `/pubsub_client_info`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cabochon_opal_server.pubsub.clients import Clients
from cabochon_opal_server.web.answers import json_answer, operation

__all__ = ["Statistics", "openapi", "routes"]


class Statistics:
    """Counts this server's clients, those that want to be counted."""

    def __init__(self, clients: Clients, *, server_id: str, version: str, started_at: datetime) -> None:
        self._clients = clients
        self._server_id = server_id
        self._version = version
        self._started_at = started_at

    def full(self) -> dict[str, Any]:
        """List clients by the name they gave, with the topics of each connection: the peer's `ServerStats`."""
        clients: dict[str, list[dict[str, Any]]] = {}
        for client in self._clients:
            for name, said in client.statistics.items():
                rpc_id = client.channel_id if said.rpc_id is None else said.rpc_id
                clients.setdefault(name, []).append({"rpc_id": rpc_id, "client_id": name, "topics": list(said.topics)})
        return {**self._head(), "clients": dict(sorted(clients.items())), "servers": [self._server_id]}

    def brief(self) -> dict[str, Any]:
        """Count clients and servers: the peer's `ServerStatsBrief`."""
        names = {name for client in self._clients for name in client.statistics}
        return {**self._head(), "client_count": len(names), "server_count": 1}

    def _head(self) -> dict[str, Any]:
        # The peer's `uptime` is the time of the start, in UTC without an offset.
        return {"uptime": self._started_at.replace(tzinfo=None).isoformat(), "version": self._version}


def routes(clients: Clients, statistics: Statistics | None, permit: Callable[[Request], None]) -> list[Route]:
    """Make the routes; without `statistics` they say how to turn them on."""

    async def client_info(request: Request) -> Response:
        permit(request)
        return json_answer(clients.described())

    async def full(request: Request) -> Response:
        permit(request)
        return json_answer(_wanted(statistics).full())

    async def brief(request: Request) -> Response:
        permit(request)
        return json_answer(_wanted(statistics).brief())

    return [
        Route("/pubsub_client_info", client_info, methods=["GET"]),
        Route("/statistics", full, methods=["GET"]),
        Route("/stats", brief, methods=["GET"]),
    ]


def _wanted(statistics: Statistics | None) -> Statistics:
    if statistics is None:
        detail: Any = {"error": "This server keeps no statistics: set OPAL_STATISTICS_ENABLED=true"}
        raise HTTPException(501, detail)
    return statistics


def openapi() -> dict[str, Any]:
    """Describe the routes, as OpenAPI 3.1 `paths`."""
    off = {"501": "OPAL_STATISTICS_ENABLED is not set."}
    tag = "Server Statistics"
    return {
        "/pubsub_client_info": {"get": operation("Pub/Sub", "client_info", "List the connections")},
        "/statistics": {"get": operation(tag, "get_statistics", "List the clients", answers=off)},
        "/stats": {"get": operation(tag, "get_stat_counts", "Count clients and servers", answers=off)},
    }
