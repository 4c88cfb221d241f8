"""The server: its rooms, opened, wired to each other, and run until it is told to stop."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import msgspec
import structlog
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute

from cabochon import Backbone, BackboneError, ConfigurationError, Plugins, load_settings
from cabochon.contract.metrics import Metrics
from cabochon.kit.web.sockets import bind_tcp
from cabochon.schemas import DataUpdate, DataUpdateReport
from cabochon.urls import masked_url
from cabochon_opal_server import __version__
from cabochon_opal_server.data import routes as data
from cabochon_opal_server.data.settings import DataSettings
from cabochon_opal_server.delivery import routes as delivery_routes
from cabochon_opal_server.delivery.delivery import Delivery
from cabochon_opal_server.delivery.settings import DeliverySettings
from cabochon_opal_server.log.housekeeping import Housekeeping
from cabochon_opal_server.log.settings import RetentionSettings
from cabochon_opal_server.policy import routes as policy_routes
from cabochon_opal_server.policy.opening import clones_of, repository_of
from cabochon_opal_server.policy.policies import Policies
from cabochon_opal_server.policy.settings import PolicySettings
from cabochon_opal_server.pubsub.clients import Clients, ClientWatcher
from cabochon_opal_server.pubsub.endpoint import Endpoint, Limits
from cabochon_opal_server.pubsub.hub import Hub
from cabochon_opal_server.pubsub.session import Permissions, SessionParts
from cabochon_opal_server.scopes.routes import ScopeParts
from cabochon_opal_server.scopes.routes import openapi as scopes_openapi
from cabochon_opal_server.scopes.routes import routes as scope_routes
from cabochon_opal_server.scopes.scope import scopes_of
from cabochon_opal_server.scopes.scopes import Scopes
from cabochon_opal_server.scopes.settings import ScopeSettings
from cabochon_opal_server.security import routes as security_routes
from cabochon_opal_server.security.access import Access, Claims, refused
from cabochon_opal_server.security.keys import KeyPair, read_keys
from cabochon_opal_server.security.settings import SecuritySettings
from cabochon_opal_server.settings import ServerSettings
from cabochon_opal_server.web import statistics
from cabochon_opal_server.web.application import application
from cabochon_opal_server.web.metrics import metrics_routes
from cabochon_opal_server.web.serving import serve

__all__ = ["Server", "open_server"]

log = structlog.get_logger()

_USUAL_PORT = 7002
_BACKLOG = 2048
_REF = "#/components/schemas/{name}"


class Server:
    """A server whose rooms are open; `run` serves, `stop` ends it.

    Attributes:
        port: the port it listens on, once it does.
        ready: set when it takes requests.
    """

    def __init__(
        self,
        settings: ServerSettings,
        backbone: Backbone,
        security: SecuritySettings,
        keys: KeyPair | None,
        environ: Mapping[str, str] | None,
    ) -> None:
        self._settings = settings
        self._access = Access(security, keys)
        self._security = security
        self._keys = keys
        self._watcher = ClientWatcher()
        self._data = load_settings(DataSettings, environ)
        self._delivery_settings = load_settings(DeliverySettings, environ)
        self._retention = load_settings(RetentionSettings, environ)
        self._backbone = backbone
        self._metrics = Metrics()
        self._hub = Hub(backbone, self._metrics)
        self._policy = load_settings(PolicySettings, environ)
        self._policies = self._opened_policies()
        self._scopes = self._opened_scopes(load_settings(ScopeSettings, environ))
        self._clients = Clients()
        self._stop = anyio.Event()
        self.port = settings.port
        self.ready = anyio.Event()

    def stop(self) -> None:
        """End `run`: connections are told, requests under way are answered."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            ConfigurationError: the address can't be listened on.
        """
        settings = self._settings
        listening = bind_tcp(settings.host, settings.port, setting="OPAL_SERVER_BIND_PORT", backlog=_BACKLOG)
        with listening:
            host, self.port = listening.getsockname()[:2]
            delivery = Delivery(
                self._backbone, self._hub, self._delivery_settings, server=f"{socket.gethostname()}:{self.port}"
            )
            parts = self._session_parts(delivery)
            endpoint = Endpoint(self._hub, self._clients, parts, self._limits(), self._permissions)
            app = application(self._routes(delivery), self._described(), _schemas(), settings.allowed_origins)
            async with anyio.create_task_group() as tasks:
                await tasks.start(self._hub.run)
                await tasks.start(delivery.run)
                if self._policies is not None:
                    await tasks.start(self._policies.run)
                if self._scopes is not None:
                    tasks.start_soon(self._scopes.run)
                tasks.start_soon(Housekeeping(self._backbone, self._retention.retention).run)
                await tasks.start(endpoint.run)
                log.info(
                    "server.started", version=__version__, host=host, port=self.port, update_log=self._backbone.log_id
                )
                self.ready.set()
                await serve(app, endpoint.connection, listening, self._stop)
                tasks.cancel_scope.cancel()
            log.info("server.stopped")

    # -------------------------------------------------------------------------------------------------------- rooms

    def _routes(self, delivery: Delivery) -> list[BaseRoute]:
        counted = self._statistics() if self._settings.statistics_enabled else None
        parts = data.DataParts(
            base_data=self._data.base_data(self.port),
            publish=self._hub.publish,
            permit=self._permit,
            permit_publishing=self._permit_publishing,
            reported=delivery.reported,
        )
        return [
            *data.routes(self._data, parts),
            *delivery.routes(self._permit),
            *self._scope_routes(parts),
            *(metrics_routes(self._metrics) if self._settings.metrics_enabled else []),
            *security_routes.routes(self._security, self._access, self._keys),
            *policy_routes.routes(self._policy, self._policies, self._permit),
            *statistics.routes(self._clients, counted, self._permit),
        ]

    def _opened_policies(self) -> Policies | None:
        repository = repository_of(self._policy, self._settings.base_dir)
        if repository is None:
            log.warning("policy_repo.none", why="no OPAL_POLICY_REPO_URL: GET /policy is answered with 503")
            return None
        policies = Policies(repository, self._hub.publish, interval_s=self._policy.polling_interval.total_seconds())
        self._hub.watchers.append(policies.passed_on)
        return policies

    def _opened_scopes(self, settings: ScopeSettings) -> Scopes | None:
        if not settings.enabled:
            return None
        scopes = Scopes(
            self._backbone,
            self._hub.publish,
            clones_of(self._policy, self._settings.base_dir),
            interval_s=settings.refresh_interval.total_seconds(),
            timeout_s=self._policy.clone_timeout.total_seconds(),
        )
        self._hub.watchers.append(scopes.passed_on)
        return scopes

    def _scope_routes(self, of_data: data.DataParts) -> list[BaseRoute]:
        if self._scopes is None:
            return []
        parts = ScopeParts(
            scopes=self._scopes,
            publish=self._hub.publish,
            largest_update=self._data.largest_update,
            base_data=data.sources_endpoint(of_data),
            permit_managing=self._permit_managing,
            permit_publishing=self._permit_publishing,
            permit_reading=self._permit_reading,
        )
        return [*scope_routes(parts)]

    def _described(self) -> list[dict[str, Any]]:
        return [
            data.openapi(self._data),
            delivery_routes.openapi(),
            *([scopes_openapi()] if self._scopes is not None else []),
            policy_routes.openapi(),
            security_routes.openapi(self._security),
            statistics.openapi(),
        ]

    def _statistics(self) -> statistics.Statistics:
        server_id = uuid.uuid4().hex
        return statistics.Statistics(
            self._clients, server_id=server_id, version=__version__, started_at=datetime.now(UTC)
        )

    def _session_parts(self, delivery: Delivery) -> SessionParts:
        return SessionParts(hub=self._hub, statistics_topic=self._settings.statistics_topic, watcher=delivery.watcher)

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            waiting_messages=settings.waiting_messages,
            waiting_bytes=settings.waiting_bytes,
            message_bytes=settings.largest_message,
            send_s=settings.send_timeout.total_seconds(),
        )

    # ------------------------------------------------------------------------------------------------- who may

    def _permit(self, request: Request) -> None:
        self._access.claims(request.headers.get("authorization"))

    def _permit_publishing(self, request: Request, topics: Sequence[str]) -> None:
        claims = self._access.claims(request.headers.get("authorization"))
        if not claims.may_publish(topics):
            log.warning("data_update.refused", peer_type=claims.peer_type, topics=sorted(set(topics))[:20])
            raise refused("this token may not publish to these topics: a datasource's token is needed")

    def _permit_managing(self, request: Request) -> None:
        claims = self._access.claims(request.headers.get("authorization"))
        if not claims.may_publish(()):
            raise refused("a datasource's token is needed")

    def _permit_reading(self, request: Request, scope: str) -> None:
        if not self._access.claims(request.headers.get("authorization")).may_read(scope):
            raise HTTPException(403, "this token's allowed_scopes do not have this scope")

    def _permissions(self, authorization: str | None) -> Permissions:
        claims = self._access.claims(authorization)
        return Permissions(partial(self._may_subscribe, claims), claims.may_publish)

    def _may_subscribe(self, claims: Claims, topics: Sequence[str]) -> bool:
        # What is published to a scope is no more for everyone than its policies and base data are.
        scopes = scopes_of(topics) if self._scopes is not None else ()
        return claims.may_subscribe(topics) and all(claims.may_read(scope) for scope in scopes)


@asynccontextmanager
async def open_server(
    plugins: Plugins, settings: ServerSettings, *, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[Server]:
    """Open what a server needs.

    Args:
        plugins: what is installed: they bring the backbones.
        settings: the server's own.
        environ: where the rooms' settings are read from; None for the process's environment.

    Raises:
        PluginNotFoundError: no installed plugin has the backbone of OPAL_BROADCAST_URI.
        ConfigurationError: a setting is wrong; the message names it.
    """
    async with AsyncExitStack() as stack:
        security = load_settings(SecuritySettings, environ)
        keys = await to_thread.run_sync(read_keys, security)
        if keys is None:
            log.warning(
                "server.open", why="no OPAL_AUTH_PRIVATE_KEY: whoever reaches this server may publish and read all"
            )
        backbone = await stack.enter_async_context(_backbone(plugins, settings, environ))
        yield Server(settings, backbone, security, keys, environ)


@asynccontextmanager
async def _backbone(
    plugins: Plugins, settings: ServerSettings, environ: Mapping[str, str] | None
) -> AsyncGenerator[Backbone]:
    url = settings.broadcast_uri or _own_log(settings.port)
    offered = plugins.backbone_for(url)
    try:
        async with offered.registration.open(offered.load_settings(environ), url) as backbone:
            yield backbone
    except BackboneError as err:
        raise ConfigurationError(f"OPAL_BROADCAST_URI={masked_url(url)}: the backbone can't be used: {err}") from err


def _own_log(port: int) -> str:
    """Several servers on one machine must not share a file by accident."""
    return "sqlite:update_log.db" if port == _USUAL_PORT else f"sqlite:update_log-{port}.db"


def _schemas() -> dict[str, Any]:
    return msgspec.json.schema_components([DataUpdate, DataUpdateReport], ref_template=_REF)[1]
