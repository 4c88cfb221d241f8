"""One subscribed session with an OPAL server, without any I/O: RPC messages in, events and RPC messages out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from msgspec import Raw

from cabochon import Connected, DataUpdateReceived, PolicyChanged, SourceEvent
from cabochon.json_values import JsonError
from cabochon_opal_source import rpc
from cabochon_opal_source.topics import Subscription, below, local_topic
from cabochon_opal_source.websocket import ConnectionLostError

__all__ = ["Session", "Statistics"]

log = structlog.get_logger()

_TAKEN = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Where the server wants to hear of this agent, and under which name."""

    channel: str
    client_id: str


class Session:
    """Calls `_ping_`, then `subscribe`, then answers whatever the server calls.

    Attributes:
        outbox: messages to send, in order; whoever sends them empties it.
        subscribed: whether the server has taken the subscription.
        pinged: calls of `_ping_` that the server has not answered yet.
        malformed: how many messages were not what they should be, and were skipped.
    """

    def __init__(self, subscription: Subscription, statistics: Statistics | None = None) -> None:
        self.outbox: list[bytes] = []
        self.subscribed = False
        self.pinged = 0
        self.malformed = 0
        self._subscription = subscription
        self._data_topics = frozenset(subscription.data)
        self._policy_topics = frozenset(subscription.policy)
        self._statistics = statistics
        self._channel_id = rpc.new_id()
        self._waiting: dict[str, Callable[[object], SourceEvent | None]] = {}
        self.ping()

    def ping(self) -> None:
        """Call `_ping_`."""
        self.pinged += 1
        self._call("_ping_", {}, self._ponged)

    def receive(self, message: rpc.Message) -> SourceEvent | None:
        """Take a message, leave in `outbox` what it asks for, and return the event that it is, if any.

        Raises:
            ConnectionLostError: the server refuses the subscription.
        """
        if type(message) is rpc.Notification:
            request = message.request
            self.outbox.append(rpc.answer(request.call_id, _TAKEN))
            arguments = request.arguments
            topic = local_topic(arguments.subscription.topic)
            if topic in self._data_topics:
                return DataUpdateReceived(arguments.data, topic)
            return self._not_ours(topic)
        return self._receive_other(message) if isinstance(message, rpc.OtherMessage) else None

    def malformed_message(self, error: JsonError) -> None:
        """Take note of a message that could not be parsed."""
        self.malformed += 1
        log.warning("server_message.malformed", error=str(error))

    # ----------------------------------------------------------------------------------------------- what is called

    def _receive_other(self, message: rpc.OtherMessage) -> SourceEvent | None:
        event: SourceEvent | None = None
        if message.request is not None:
            call_id = message.request.call_id
            match message.request.method:
                case "notify":
                    self.outbox.append(rpc.answer(call_id, _TAKEN))
                    event = self._notified(message.request.arguments)
                case "_ping_":
                    self.outbox.append(rpc.answer(call_id, "pong"))
                case "_get_channel_id_":
                    self.outbox.append(rpc.answer(call_id, self._channel_id))
                case _:
                    log.debug("server_call.ignored", method=message.request.method)
        if message.response is not None:
            answered = self._waiting.pop(message.response.call_id or "", None)
            event = answered(message.response.result) if answered is not None else event
        return event

    def _notified(self, raw: Raw) -> SourceEvent | None:
        try:
            arguments = rpc.read_arguments(raw)
        except JsonError as err:
            self.malformed_message(err)
            return None
        topic = local_topic(arguments.subscription.topic)
        if topic in self._policy_topics:
            return self._policies_changed(topic, arguments.data)
        if topic not in self._data_topics:
            return self._not_ours(topic)
        try:
            return DataUpdateReceived(rpc.read_data_update(arguments.data), topic)
        except JsonError as err:
            self.malformed += 1
            log.warning("data_update.malformed", topic=topic, error=str(err))
            return None

    def _policies_changed(self, topic: str, raw: Raw) -> PolicyChanged | None:
        try:
            message = rpc.read_policy_update(raw)
        except JsonError as err:
            self.malformed += 1
            log.warning("policy_update.malformed", topic=topic, error=str(err))
            return None
        followed = self._subscription.directories
        directories = tuple(name for name in message.changed_directories if below(name, followed))
        if message.changed_directories and not directories:
            log.debug("policy_update.not_for_this_agent", topic=topic, policy_hash=message.new_policy_hash)
            return None
        return PolicyChanged(message.new_policy_hash, directories)

    def _not_ours(self, topic: str) -> None:
        log.debug("notification.ignored", topic=topic)

    # -------------------------------------------------------------------------------------------------- what we call

    def _call(self, method: str, arguments: object, answered: Callable[[object], SourceEvent | None]) -> None:
        call_id = rpc.new_id()
        self._waiting[call_id] = answered
        self.outbox.append(rpc.call(method, arguments, call_id))

    def _ponged(self, _result: object) -> None:
        self.pinged -= 1
        if not self.subscribed:
            self._call("subscribe", {"topics": self._subscription.topics}, self._answered_subscribe)

    def _answered_subscribe(self, result: object) -> Connected:
        if result is not True:
            raise ConnectionLostError("the server refuses the subscription")
        self.subscribed = True
        if self._statistics is not None:
            told = {
                "topics": self._subscription.topics,
                "client_id": self._statistics.client_id,
                "rpc_id": self._channel_id,
            }
            arguments = {"topics": [self._statistics.channel], "data": told, "sync": True, "notifier_id": None}
            self._call("publish", arguments, lambda _result: None)
        return Connected(resumed=False)
