"""The server: opened, and run until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.abc
import structlog
from anyio import to_thread

from cabochon import Backbone, BackboneError, ConfigurationError, Plugins
from cabochon.kit.web.pages import PageGuard
from cabochon.kit.web.sockets import bind_tcp
from cabochon.urls import masked_url
from cabochon_opal_server import __version__
from cabochon_opal_server.all_settings import RoomSettings
from cabochon_opal_server.delivery.delivery import Delivery
from cabochon_opal_server.log.housekeeping import Housekeeping
from cabochon_opal_server.pubsub.endpoint import Endpoint, Limits
from cabochon_opal_server.pubsub.session import SessionParts
from cabochon_opal_server.rooms import Rooms, open_rooms
from cabochon_opal_server.routes import application_of, openness_of, page_guard_of
from cabochon_opal_server.security.keys import read_keys
from cabochon_opal_server.settings import ServerSettings
from cabochon_opal_server.web.crowd import Crowd, descriptors
from cabochon_opal_server.web.http_connection import BoundedHttp
from cabochon_opal_server.web.serving import serve

__all__ = ["Server", "open_server"]

log = structlog.get_logger()

_USUAL_PORT = 7002
_BACKLOG = 2048


class Server:
    """A server whose rooms are open; `run` serves, `stop` ends it.

    Attributes:
        port: the port it listens on, once it does.
        ready: set when it takes requests.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._settings = rooms.settings.server
        self._stop = anyio.Event()
        self.port = self._settings.port
        self.ready = anyio.Event()

    def stop(self) -> None:
        """End `run`: connections are told, requests under way are answered."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            ConfigurationError: the address can't be listened on.
        """
        host, port = self._settings.host, self._settings.port
        with bind_tcp(host, port, setting="OPAL_SERVER_BIND_PORT", backlog=_BACKLOG) as server_socket:
            host, self.port = server_socket.getsockname()[:2]
            delivery = self._delivery()
            pages = page_guard_of(self._rooms, host)
            openness = openness_of(self._rooms, host)
            crowd = Crowd(self._settings.max_connections or descriptors())
            endpoint = self._endpoint(delivery, pages, crowd)
            app = application_of(self._rooms, delivery, self.port, pages, openness)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._end_before_it_serves, tasks.cancel_scope)
                await self._start(tasks, delivery, endpoint)
                log.info(
                    "server.started",
                    version=__version__,
                    host=host,
                    port=self.port,
                    update_log=self._rooms.backbone.log_id,
                )
                if openness is not None:
                    log.critical("server.open_to_the_network", host=host, port=self.port, why=openness)
                self.ready.set()
                http = partial(BoundedHttp, crowd=crowd, limits=self._settings.http_limits)
                await serve(app, endpoint.connection, server_socket, self._stop, http, at_once=crowd.at_once)
                tasks.cancel_scope.cancel()
            log.info("server.stopped")

    async def _end_before_it_serves(self, starting: anyio.CancelScope) -> None:
        """Obey `stop` while rooms are opened, whatever they wait for."""
        await self._stop.wait()
        if not self.ready.is_set():
            starting.cancel()

    async def _start(self, tasks: anyio.abc.TaskGroup, delivery: Delivery, endpoint: Endpoint) -> None:
        """Start the rooms that work in the background, each when those that it needs are up."""
        rooms = self._rooms
        await tasks.start(rooms.hub.run)
        await tasks.start(delivery.run)
        if rooms.policies is not None:
            await tasks.start(rooms.policies.run)
        if rooms.scopes is not None:
            tasks.start_soon(rooms.scopes.run)
        tasks.start_soon(Housekeeping(rooms.backbone, rooms.settings.retention.retention).run)
        await tasks.start(endpoint.run)

    def _delivery(self) -> Delivery:
        name = f"{socket.gethostname()}:{self.port}"
        return Delivery(self._rooms.backbone, self._rooms.hub, self._rooms.settings.delivery, server=name)

    def _endpoint(self, delivery: Delivery, pages: PageGuard, crowd: Crowd) -> Endpoint:
        rooms, settings = self._rooms, self._settings
        parts = SessionParts(
            hub=rooms.hub,
            statistics_topic=settings.statistics_topic,
            watcher=delivery.watcher,
            topics=rooms.settings.data.update_limits.topics,
        )
        limits = Limits(
            waiting_messages=settings.waiting_messages,
            waiting_bytes=settings.waiting_bytes,
            message_bytes=settings.largest_message,
            send_s=settings.send_timeout.total_seconds(),
        )
        return Endpoint(rooms.hub, rooms.clients, parts, limits, partial(rooms.permits.over_websocket, pages), crowd)


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
    all_settings = RoomSettings.load(settings, environ)
    keys = await to_thread.run_sync(read_keys, all_settings.security)
    if keys is None:
        log.warning("server.open", why="no OPAL_AUTH_PRIVATE_KEY: whoever reaches this server may publish and read all")
    async with _backbone(plugins, settings, environ) as backbone:
        yield Server(open_rooms(all_settings, backbone, keys))


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
