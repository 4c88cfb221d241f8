"""One subscribed session with an OPAL server, without any I/O: RPC messages in, events and RPC messages out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from msgspec import Raw

from cabochon import Connected, DataUpdateReceived, PolicyChanged, SourceEvent
from cabochon.documents.json_values import JsonError
from cabochon.schemas import DataUpdate
from cabochon_opal_source import rpc
from cabochon_opal_source.progress import Progress, Report
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
        extended: whether the server speaks our extension (docs/reference/protocol.md); to be set before anything comes.
        progress: how far we are in that server's log.
    """

    def __init__(
        self, subscription: Subscription, statistics: Statistics | None = None, progress: Progress | None = None
    ) -> None:
        self.outbox: list[bytes] = []
        self.subscribed = False
        self.pinged = 0
        self.malformed = 0
        self.extended = False
        self.progress = Progress() if progress is None else progress
        self._resuming = False
        self._answered = False
        self._reporting = False
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

    def receive(self, message: rpc.Message) -> tuple[SourceEvent, ...]:
        """Take a message, leave in `outbox` what it asks for, and return the events that it is.

        Raises:
            ConnectionLostError: the server refuses the subscription.
        """
        event = self._received(message)
        if event is None:
            return ()
        if self._resuming and not self.subscribed and not isinstance(event, Connected):
            # What comes before the answer to `subscribe` is what we missed: the server has resumed.
            self.subscribed = True
            return Connected(resumed=True), event
        return (event,)

    def _received(self, message: rpc.Message) -> SourceEvent | None:
        if type(message) is rpc.Notification:
            request = message.request
            self.outbox.append(rpc.answer(request.call_id, _TAKEN))
            arguments = request.arguments
            number = self._number(arguments.subscription)
            if self._is_copy(number):
                return None
            topic = local_topic(arguments.subscription.topic)
            if topic in self._data_topics:
                return self._update(arguments.data, topic, number)
            self._skip(number)
            return self._not_ours(topic)
        return self._receive_other(message) if isinstance(message, rpc.OtherMessage) else None

    @property
    def may_report(self) -> bool:
        """Whether the server wants to know how far we are, and has answered the last report."""
        return self.extended and self._answered and not self._reporting

    def report(self) -> None:
        """Call `progress`."""
        report = self.progress.report()
        self._reporting = True
        self._call("progress", report, partial(self._reported, report))

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
        number = self._number(arguments.subscription)
        if self._is_copy(number):
            return None
        topic = local_topic(arguments.subscription.topic)
        if topic not in self._data_topics:
            self._skip(number)
            return (
                self._policies_changed(topic, arguments.data) if topic in self._policy_topics else self._not_ours(topic)
            )
        try:
            update = rpc.read_data_update(arguments.data)
        except JsonError as err:
            self.malformed += 1
            self._skip(number, f"it is no data update: {err}")
            log.warning("data_update.malformed", topic=topic, error=str(err))
            return None
        return self._update(update, topic, number)

    # ------------------------------------------------------------------------------------------ its place in the log

    def _number(self, subscription: rpc.NotifiedSubscription) -> int:
        """Return the place of a notification in the log, 0 if it has none."""
        return subscription.number if self._resuming or (self.extended and self._answered) else 0

    def _is_copy(self, number: int) -> bool:
        return bool(number) and self.progress.is_copy(number)

    def _update(self, update: DataUpdate, topic: str, number: int) -> DataUpdateReceived:
        return DataUpdateReceived(update, topic, self.progress.take(number) if number else None)

    def _skip(self, number: int, error: str = "") -> None:
        if number:
            self.progress.skip(number, error)

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
            wanted: dict[str, object] = {"topics": self._subscription.topics}
            if self.extended:
                resume = wanted["resume"] = self.progress.resume()
                self._resuming = bool(resume["log"])
            self._call("subscribe", wanted, self._answered_subscribe)

    def _answered_subscribe(self, result: object) -> Connected | None:
        resumed = False
        if self.extended and (taken := rpc.read_subscribed(result)) is not None:
            resumed = self._begin(taken)
        elif result is not True:
            raise ConnectionLostError("the server refuses the subscription")
        said, self.subscribed, self._answered = self.subscribed, True, True
        self._count_me_in()
        return None if said else Connected(resumed)

    def _begin(self, taken: rpc.Subscribed) -> bool:
        if not taken.resumed:
            if self.subscribed:
                raise ConnectionLostError("the server has sent what we missed, and says now that it could not")
            self.progress.begin(taken.log, taken.number)
        else:
            self.progress.reached(taken.number)
        return taken.resumed

    def _reported(self, report: Report, result: object) -> None:
        self._reporting = False
        self.progress.told(report)
        if type(result) is int:
            # All that there is for us up to this number came before this answer.
            self.progress.reached(result)

    def _count_me_in(self) -> None:
        if self._statistics is not None:
            told = {
                "topics": self._subscription.topics,
                "client_id": self._statistics.client_id,
                "rpc_id": self._channel_id,
            }
            arguments = {"topics": [self._statistics.channel], "data": told, "sync": True, "notifier_id": None}
            self._call("publish", arguments, lambda _result: None)
