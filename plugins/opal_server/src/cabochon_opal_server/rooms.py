"""The rooms of a server, opened and wired to each other; what belongs to its port comes with `Server.run`."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cabochon import Backbone
from cabochon.contract.metrics import Metrics
from cabochon_opal_server.all_settings import RoomSettings
from cabochon_opal_server.policy.configured_repository import clones_of, repository_of
from cabochon_opal_server.policy.policies import Policies
from cabochon_opal_server.pubsub.clients import Clients
from cabochon_opal_server.pubsub.hub import Hub
from cabochon_opal_server.scopes.scopes import Scopes
from cabochon_opal_server.security.access import Access
from cabochon_opal_server.security.keys import KeyPair
from cabochon_opal_server.security.permits import Permits

__all__ = ["Rooms", "open_rooms"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What a server is made of.

    Attributes:
        keys: what tokens are signed with; None for an open server.
        policies: None if none are to be served.
        scopes: None if there are to be none.
    """

    settings: RoomSettings
    backbone: Backbone
    keys: KeyPair | None
    access: Access
    permits: Permits
    metrics: Metrics
    hub: Hub
    clients: Clients
    policies: Policies | None
    scopes: Scopes | None


def open_rooms(settings: RoomSettings, backbone: Backbone, keys: KeyPair | None) -> Rooms:
    """Open the rooms.

    Raises:
        ConfigurationError: the settings of policies do not fit together.
    """
    metrics = Metrics()
    hub = Hub(backbone, metrics)
    policies = _policies(settings, hub)
    access = Access(settings.security, keys)
    return Rooms(
        settings=settings,
        backbone=backbone,
        keys=keys,
        access=access,
        permits=Permits(access, has_scopes=settings.scopes.enabled),
        metrics=metrics,
        hub=hub,
        clients=Clients(),
        policies=policies,
        scopes=_scopes(settings, backbone, hub),
    )


def _policies(settings: RoomSettings, hub: Hub) -> Policies | None:
    repository = repository_of(settings.policy, settings.server.base_dir)
    if repository is None:
        log.warning("policy_repo.none", why="no OPAL_POLICY_REPO_URL: GET /policy is answered with 503")
        return None
    policies = Policies(
        repository,
        hub.publish,
        interval_s=settings.policy.polling_interval.total_seconds(),
        kept_bytes=settings.policy.bundle_cache,
    )
    hub.watchers.append(policies.passed_on)
    return policies


def _scopes(settings: RoomSettings, backbone: Backbone, hub: Hub) -> Scopes | None:
    if not settings.scopes.enabled:
        return None
    scopes = Scopes(
        backbone,
        hub.publish,
        clones_of(settings.policy, settings.server.base_dir),
        interval_s=settings.scopes.refresh_interval.total_seconds(),
        timeout_s=settings.policy.clone_timeout.total_seconds(),
        limits=settings.policy.limits,
        kept_bytes=settings.policy.bundle_cache,
    )
    hub.watchers.append(scopes.passed_on)
    return scopes
