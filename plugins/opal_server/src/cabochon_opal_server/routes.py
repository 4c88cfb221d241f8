"""The HTTP side of all rooms: their routes, each with what it needs of the others, and the description of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from cabochon.kit.web.pages import PageGuard, is_loopback
from cabochon.schemas import DataUpdate, DataUpdateReport
from cabochon_opal_server import __version__
from cabochon_opal_server.all_settings import RoomSettings
from cabochon_opal_server.data import routes as data
from cabochon_opal_server.delivery import routes as delivery_routes
from cabochon_opal_server.delivery.delivery import Delivery
from cabochon_opal_server.policy import routes as policies
from cabochon_opal_server.rooms import Rooms
from cabochon_opal_server.scopes import routes as scopes
from cabochon_opal_server.security import routes as security
from cabochon_opal_server.web import statistics
from cabochon_opal_server.web.application import FREE_PATHS, application
from cabochon_opal_server.web.bodies import Bodies
from cabochon_opal_server.web.metrics import metrics_routes

__all__ = ["application_of", "openness_of", "page_guard_of"]

_REF = "#/components/schemas/{name}"


def application_of(rooms: Rooms, delivery: Delivery, port: int, pages: PageGuard, openness: str | None) -> ASGIApp:
    """Make the application of a server that listens on `port`.

    Args:
        rooms: what it is made of.
        delivery: who has what.
        port: the port.
        pages: says which web pages may ask.
        openness: what `openness_of` says.
    """
    schemas = msgspec.json.schema_components([DataUpdate, DataUpdateReport], ref_template=_REF)[1]
    origins = rooms.settings.server.allowed_origins
    served, described = _routes(rooms, delivery, port), _described(rooms.settings)
    bodies = Bodies(rooms.settings.server.bodies_bytes)
    return application(served, described, schemas, origins, pages, openness, lambda: problems_of(rooms), bodies)


def problems_of(rooms: Rooms) -> list[str]:
    """Say what does not work now, in words for everyone: the log and the routes of scopes say why."""
    found = list(rooms.backbone.problems())
    if rooms.policies is not None and rooms.policies.trouble is not None:
        found.append("the policy repository can't be read: what was read last is served")
    scopes_in_trouble = 0 if rooms.scopes is None else len(rooms.scopes.trouble())
    if scopes_in_trouble:
        found.append(f"{scopes_in_trouble} scopes can't be followed: what was read last is served")
    return found


def openness_of(rooms: Rooms, host: str) -> str | None:
    """Say that a server without keys which listens at `host` is open to more than its own machine, if it is."""
    if not rooms.access.is_open or is_loopback(host):
        return None
    return (
        "EVERYONE WHO REACHES THIS SERVER MAY PUBLISH AND READ ALL: set OPAL_AUTH_PRIVATE_KEY and OPAL_AUTH_PUBLIC_KEY"
    )


def page_guard_of(rooms: Rooms, host: str) -> PageGuard:
    """Make what keeps web pages out of a server that listens at `host`."""
    settings = rooms.settings
    policy = settings.policy
    # A webhook with a secret carries its own proof, and comes under whatever name a tunnel has.
    proven = policy.webhook_secret is not None and policy.source_type == "GIT"
    return PageGuard(
        settings.server,
        free={*FREE_PATHS, settings.security.jwks_url, *(["/webhook"] if proven else [])},
        is_open=rooms.access.is_open,
        listens_on=host,
        name=settings.server.host,
    )


def _routes(rooms: Rooms, delivery: Delivery, port: int) -> list[BaseRoute]:
    settings, permits = rooms.settings, rooms.permits
    parts = data.DataParts(
        base_data=settings.data.base_data(port),
        publish=rooms.hub.publish,
        permit=permits.enter,
        visible=permits.visible,
        permit_publishing=permits.publish,
        reported=delivery.reported,
    )
    return [
        *data.routes(settings.data, parts),
        *delivery.routes(permits.enter),
        *_scope_routes(rooms, parts),
        *(metrics_routes(rooms.metrics) if settings.server.metrics_enabled else []),
        *security.routes(settings.security, rooms.access, rooms.keys),
        *policies.routes(settings.policy, rooms.policies, permits.enter),
        *statistics.routes(rooms.clients, _statistics(rooms), permits.enter),
    ]


def _scope_routes(rooms: Rooms, of_data: data.DataParts) -> list[BaseRoute]:
    if rooms.scopes is None:
        return []
    parts = scopes.ScopeParts(
        scopes=rooms.scopes,
        publish=rooms.hub.publish,
        largest_update=rooms.settings.data.largest_update,
        limits=rooms.settings.data.update_limits,
        base_data=data.sources_endpoint(of_data),
        permit_managing=rooms.permits.manage,
        manageable=rooms.permits.manageable,
        permit_publishing=rooms.permits.publish_in,
        permit_reading=rooms.permits.read,
    )
    return [*scopes.routes(parts)]


def _statistics(rooms: Rooms) -> statistics.Statistics | None:
    if not rooms.settings.server.statistics_enabled:
        return None
    server_id = uuid.uuid4().hex
    return statistics.Statistics(rooms.clients, server_id=server_id, version=__version__, started_at=datetime.now(UTC))


def _described(settings: RoomSettings) -> list[dict[str, Any]]:
    return [
        data.openapi(settings.data),
        delivery_routes.openapi(),
        *([scopes.openapi()] if settings.scopes.enabled else []),
        policies.openapi(),
        security.openapi(settings.security),
        statistics.openapi(),
    ]
