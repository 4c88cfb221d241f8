"""What one connected client may call, and what it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog

from cabochon import BackboneError, NewRecord
from cabochon.documents.json_values import JsonError
from cabochon_opal_server.pubsub.clients import Client, ClientWatcher
from cabochon_opal_server.pubsub.hub import Hub
from cabochon_opal_server.pubsub.messages import (
    Counted,
    Progress,
    Publication,
    RpcCall,
    Topics,
    answer,
    arguments_as,
)
from cabochon_opal_server.pubsub.topics import TopicLimits
from cabochon_opal_server.pubsub.websocket import text_frame

__all__ = ["Permissions", "Session", "SessionParts"]

log = structlog.get_logger()

Answer = tuple[Any, str]
_TRUE: Answer = (True, "bool")
_FALSE: Answer = (False, "bool")
_NAMES_AT_MOST = 16
_LONGEST_COUNTED = 64 * 1024
_MOST_NUMBERS = 100_000
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a client's token lets it do over the WebSocket.

    Attributes:
        subscribe, publish: take topics.
        sees: tells of a topic whether it may be followed; None for all of them.
        expires_at: until when, in Unix seconds.
        holder: whose token it is; "" where there are none.
    """

    subscribe: Callable[[tuple[str, ...]], bool]
    publish: Callable[[tuple[str, ...]], bool]
    sees: Callable[[str], bool] | None
    expires_at: float
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """What sessions share.

    Attributes:
        statistics_topic: where clients that want to be counted publish; that message goes no further.
        watcher: told what clients do.
        topics: what the topics that they name may be.
    """

    hub: Hub
    statistics_topic: str
    watcher: ClientWatcher
    topics: TopicLimits


class Session:
    """Answers the calls of one client, one after the other."""

    def __init__(self, client: Client, permissions: Permissions, parts: SessionParts) -> None:
        self._client = client
        self._may = permissions
        self._parts = parts
        self._after_answer: Callable[[], Awaitable[None]] | None = None
        self._methods: Mapping[str, Callable[[RpcCall], Awaitable[Answer]]] = {
            "_ping_": self._ping,
            "ping": self._ping,
            "_get_channel_id_": self._channel_id,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "publish": self._publish,
            "progress": self._progress,
        }

    async def receive(self, call: RpcCall) -> None:
        """Carry a call out and answer it; nonsense is answered too, and does no harm.

        Raises:
            BackboneError: the log is away: a client that subscribes now has to come again.
        """
        method = self._methods.get(call.method)
        if method is None:
            log.debug("call.unknown", method=call.method[:100], client_id=self._client.client_id)
            result: Answer = (None, "None")
        else:
            try:
                result = await method(call)
            except JsonError as err:
                log.warning("call.malformed", method=call.method, client_id=self._client.client_id, error=str(err))
                result = _FALSE
        self._client.subscriber.put(text_frame(answer(call.call_id, *result)))
        if self._after_answer is not None:
            after, self._after_answer = self._after_answer, None
            await after()

    async def _ping(self, _call: RpcCall) -> Answer:
        return "pong", "str"

    async def _channel_id(self, _call: RpcCall) -> Answer:
        return self._client.channel_id, "str"

    async def _subscribe(self, call: RpcCall) -> Answer:
        wanted = arguments_as(Topics, call)
        limits, has = self._parts.topics, self._client.subscriber.topics
        if len(has) + len(wanted.topics) > limits.of_client and len(has.union(wanted.topics)) > limits.of_client:
            raise JsonError(f"it wants more topics than OPAL_CLIENT_MAX_TOPICS={limits.of_client}")
        self._check(wanted.topics)
        if not self._may.subscribe(wanted.topics):
            return self._refused("subscribe", wanted.topics)
        subscriber, hub = self._client.subscriber, self._parts.hub
        resumed = False
        begins = None if wanted.resume is None else await hub.begins_after(wanted.resume)
        if begins is None:
            resumed = await hub.subscribe(subscriber, wanted.topics, wanted.resume)
        else:
            # Before the answer comes only what somebody has missed who has resumed.
            subscriber.number = begins
            subscriber.topics.update(wanted.topics)
            self._after_answer = partial(hub.subscribe_after, subscriber, wanted.topics, begins)
        self._parts.watcher.subscribed(self._client, wanted.topics, resumed=resumed)
        log.info(
            "client.subscribed",
            client_id=self._client.client_id,
            agent=self._client.agent or None,
            topics=sorted(wanted.topics)[:_SHOWN],
            resumed=resumed,
        )
        if wanted.resume is None:
            return _TRUE
        return {"log": hub.log_id, "number": subscriber.number, "resumed": resumed}, "dict"

    async def _unsubscribe(self, call: RpcCall) -> Answer:
        self._parts.hub.unsubscribe(self._client.subscriber, arguments_as(Topics, call).topics)
        return _TRUE

    async def _publish(self, call: RpcCall) -> Answer:
        publication = arguments_as(Publication, call)
        topics = publication.listed
        if len(topics) > self._parts.topics.of_update:
            raise JsonError(f"it goes to more topics than OPAL_UPDATE_MAX_TOPICS={self._parts.topics.of_update}")
        self._check(topics)
        if topics == (self._parts.statistics_topic,):
            return self._count(publication)
        if not self._may.publish(topics):
            return self._refused("publish", topics)
        # Not a data update, whatever it looks like: it is passed on, and not replayed.
        record = NewRecord(kind="message", topics=topics, body=bytes(publication.data))
        by_itself = publication.notifier_id in (None, self._client.channel_id)
        try:
            await self._parts.hub.publish(record, sender=self._client.subscriber if by_itself else None)
        except BackboneError as err:
            log.error("message.not_published", error=str(err))  # noqa: TRY400 - an expected failure
            return _FALSE
        return _TRUE

    def _check(self, topics: tuple[str, ...]) -> None:
        fault = self._parts.topics.fault(topics)
        if fault is not None:
            raise JsonError(fault)

    def _count(self, publication: Publication) -> Answer:
        if len(publication.data) > _LONGEST_COUNTED:
            raise JsonError(f"it has more than {_LONGEST_COUNTED} bytes, which is kept as long as it is connected")
        try:
            counted = msgspec.json.decode(publication.data, type=Counted)
        except msgspec.DecodeError as err:
            raise JsonError(str(err)) from err
        names = self._client.statistics
        names[counted.client_id] = counted
        if len(names) > _NAMES_AT_MOST:
            del names[next(iter(names))]
        return _TRUE

    async def _progress(self, call: RpcCall) -> Answer:
        progress = arguments_as(Progress, call)
        if len(progress.above) > _MOST_NUMBERS or len(progress.failed) > _MOST_NUMBERS:
            raise JsonError(f"it has more than {_MOST_NUMBERS} numbers")
        if not await self._parts.hub.has_number(max((progress.ended, *progress.above, *progress.failed))):
            # Nobody has what was not published yet.
            return self._refused("progress", ())
        self._parts.watcher.progressed(self._client, progress)
        # All that was to be told up to here is on its way before this answer.
        return self._parts.hub.number, "int"

    def _refused(self, method: str, topics: tuple[str, ...]) -> Answer:
        log.warning("call.refused", method=method, client_id=self._client.client_id, topics=sorted(topics)[:20])
        return _FALSE
