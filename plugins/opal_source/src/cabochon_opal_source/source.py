"""The `opal` update source: follows a server, connects again whenever the connection is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from cabochon import ConfigurationError, Disconnected, SourceEvent, UpdateSource
from cabochon.backoff import Backoff
from cabochon.schemas import DataSourceConfig, PolicyBundle, UpdateCallback
from cabochon.urls import masked_url
from cabochon_opal_source import __version__
from cabochon_opal_source.connection import Connection, Server
from cabochon_opal_source.event_buffer import EventBuffer
from cabochon_opal_source.progress import Position, Progress
from cabochon_opal_source.server_api import ServerApi
from cabochon_opal_source.session import Session, Statistics
from cabochon_opal_source.settings import OpalSourceSettings
from cabochon_opal_source.topics import Subscription, entry_topics
from cabochon_opal_source.websocket import ConnectionLostError, TokenRefusedError

__all__ = ["OpalUpdateSource"]

log = structlog.get_logger()

_BUFFERED_EVENTS = 1_000
_BUFFERED_BYTES = 4 * 1024 * 1024
_LIVED_S = 2.0
_LEAVE_S = 1.0


class OpalUpdateSource(UpdateSource):
    """Each iteration of `events` is a connection of its own, which lasts until its generator is closed.

    Attributes:
        malformed: how many messages were not what they should be, and were skipped.
    """

    def __init__(self, settings: OpalSourceSettings, server: Server, api: ServerApi, tasks: TaskGroup) -> None:
        self._settings = settings
        self._server = server
        self._api = api
        self._tasks = tasks
        self._subscription = _subscription(settings)
        self._statistics = (
            Statistics(channel=settings.statistics_channel, client_id=settings.statistics_id())
            if settings.statistics_enabled
            else None
        )
        self._must_wait_for_room = settings.wait_on_server_load
        self.topics = entry_topics(settings.data_topics, settings.scope_id)
        self.has_policies = settings.policy_updater_enabled
        self.callbacks = UpdateCallback(callbacks=(f"{settings.server_url}/data/callback_report",))
        self.malformed = 0
        self._progress = Progress()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: OpalSourceSettings) -> AsyncGenerator[UpdateSource]:
        """Prepare to follow the server; nothing is connected before `events` is iterated.

        Raises:
            ConfigurationError: the URL or the file of certificates to trust can't be used.
        """
        context = await to_thread.run_sync(settings.client_context)
        headers = {"Authorization": f"Bearer {settings.client_token.get_secret_value()}"}
        try:
            uri = parse_uri(settings.pubsub_url)
        except (InvalidURI, ValueError) as err:
            raise ConfigurationError(
                f"OPAL_SERVER_PUBSUB_URL={masked_url(settings.pubsub_url)} should be a URL such as ws://localhost:7002/ws"
            ) from err
        server = Server(
            uri=uri,
            headers={**headers, "X-Cabochon-Agent": settings.agent_name(), "X-Cabochon-Version": __version__},
            context=context,
            max_message_bytes=settings.max_message_bytes,
            silence_s=settings.ping_interval.total_seconds(),
            call_every_s=settings.keep_alive_interval.total_seconds(),
        )
        async with ServerApi.open(settings, headers, context) as api, anyio.create_task_group() as tasks:
            yield cls(settings, server, api, tasks)
            tasks.cancel_scope.cancel()

    async def events(self) -> AsyncGenerator[SourceEvent]:
        """Connect, and yield what happens; closing the generator disconnects.

        What was read and not yielded is lost with it: the next iteration starts afresh, with base data.
        """
        following = _Following()
        self._progress = following.progress
        self._tasks.start_soon(self._follow, following)
        try:
            while True:
                for event in await following.buffer.take():
                    yield event
        finally:
            following.scope.cancel()
            with anyio.move_on_after(_LEAVE_S, shield=True):
                await following.ended.wait()

    async def data_sources(self) -> DataSourceConfig:
        """Ask the server for the base data sources; a redirect of its `external_source_url` is followed."""
        return await self._api.data_sources()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Ask the server for the policies of all directories that are followed.

        The difference of some directories alone would lose what changed in the others since `base_hash`.
        """
        del directories
        return await self._api.policy_bundle(base_hash, self._subscription.directories) if self.has_policies else None

    def ended(self, position: object, error: str | None) -> None:
        """Take note, for the server that wants to know."""
        if isinstance(position, Position):
            self._progress.ended(position, error)

    # ------------------------------------------------------------------------------------------------- following

    async def _follow(self, following: _Following) -> None:
        try:
            with following.scope:
                if self._must_wait_for_room:
                    await self._api.wait_for_room()
                    self._must_wait_for_room = False
                await self._connect_again_and_again(following.buffer, following.progress)
        finally:
            following.ended.set()

    async def _connect_again_and_again(self, buffer: EventBuffer, progress: Progress) -> None:
        backoff = Backoff(first_s=0.1, longest_s=10.0)
        tries = 0
        while True:
            session = Session(self._subscription, self._statistics, progress)
            started = anyio.current_time()
            wait = 0.0
            try:
                await Connection(self._server, session, buffer).run()
            except ConnectionLostError as err:
                # One that was lost soon counts on, so that a server which throws us out is not hammered.
                lived = session.subscribed and anyio.current_time() >= started + _LIVED_S
                tries = 1 if lived else tries + 1
                wait = backoff.wait_s(tries)
                self._lost(err, buffer if session.subscribed else None, attempt=tries, wait_s=wait)
            finally:
                self.malformed += session.malformed
            await anyio.sleep(wait)

    def _lost(self, err: ConnectionLostError, buffer: EventBuffer | None, *, attempt: int, wait_s: float) -> None:
        if buffer is not None:
            buffer.put(Disconnected(str(err)))
            return
        url, wait = masked_url(self._settings.pubsub_url), round(wait_s, 3)
        if isinstance(err, TokenRefusedError):
            log.error("client_token.refused", url=url, attempt=attempt, wait_s=wait, error=str(err))
        else:
            log.warning("server_connection.failed", url=url, attempt=attempt, wait_s=wait, error=str(err))


class _Following:
    """One iteration of `events`: what its two tasks share."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.buffer = EventBuffer(max_events=_BUFFERED_EVENTS, max_bytes=_BUFFERED_BYTES)
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()


def _subscription(settings: OpalSourceSettings) -> Subscription:
    return Subscription.of(
        data=settings.data_topics if settings.data_updater_enabled else (),
        directories=settings.policy_directories if settings.policy_updater_enabled else (),
        scope=settings.scope_id,
    )
