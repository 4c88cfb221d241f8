"""The hub: follows the log, and gives every subscriber what it subscribed to, in the log's order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import aclosing

import anyio
import structlog

from cabochon import Backbone, BackboneError, LogRecord, NewRecord
from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.errors import LogReplacedError, LogTrimmedError
from cabochon_opal_server.pubsub.excerpts import bodies_for
from cabochon_opal_server.pubsub.messages import Resume, notification
from cabochon_opal_server.pubsub.subscriber import Subscriber
from cabochon_opal_server.pubsub.websocket import text_frame

__all__ = ["Hub"]

log = structlog.get_logger()

_PAGE = 500
_REMEMBERED_SENDERS = 10_000


class Hub:
    """Who is told what.

    Attributes:
        number: the last number of the log that was given to subscribers.
        watchers: called with each record after subscribers were told of it.
        renewed: called when the log was replaced by another, whose numbers begin anew.
    """

    def __init__(self, backbone: Backbone, metrics: Metrics | None = None) -> None:
        self._backbone = backbone
        self._by_topic: dict[str, dict[Subscriber, None]] = {}
        self._live: dict[Subscriber, None] = {}
        self._senders: dict[int, Subscriber] = {}
        self.number = 0
        self._metrics = metrics if metrics is not None else Metrics()
        self._metrics.gauge("update_log.number", lambda: self.number)
        self._metrics.gauge("subscribers", lambda: len(self._live))
        self.watchers: list[Callable[[LogRecord], None]] = []
        self.renewed: list[Callable[[], None]] = []

    @property
    def log_id(self) -> str:
        """The identity of the log."""
        return self._backbone.log_id

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow the log from its head, until cancelled; while it is away nothing is lost, only late."""
        self.number = (await self._backbone.bounds()).head
        task_status.started()
        backoff = Backoff(first_s=0.1, longest_s=5.0)
        tries = 0
        while True:
            try:
                async with aclosing(self._backbone.follow(self.number)) as batches:
                    async for batch in batches:
                        tries = 0
                        self._tell(batch)
            except LogTrimmedError as err:
                # Too far behind to be told what came since: they come again, and hear that they must start afresh.
                self.number = err.floor
                for subscriber in tuple(self._live):
                    subscriber.drop("the log no longer reaches back to what it was told last")
            except LogReplacedError:
                # Numbers of the old log mean nothing in this one.
                self.number = 0
                self._senders.clear()
                log.warning("update_log.replaced", update_log=self.log_id, dropped=len(self._live))
                for subscriber in tuple(self._live):
                    subscriber.drop("the update log was replaced by another")
                for renew in self.renewed:
                    renew()
            except BackboneError as err:
                tries += 1
                wait_s = backoff.wait_s(tries)
                log.warning("update_log.lost", error=str(err), attempt=tries, wait_s=round(wait_s, 3))
                await anyio.sleep(wait_s)

    async def publish(self, record: NewRecord, *, sender: Subscriber | None = None) -> int:
        """Put a record into the log and return its number; it is durable then. `sender` is not told of it.

        Raises:
            BackboneError: the log can't be written to.
        """
        (number,) = await self._backbone.append([record])
        self._metrics.count("updates.published")
        if sender is not None and number > self.number:
            self._senders[number] = sender
            while len(self._senders) > _REMEMBERED_SENDERS:
                del self._senders[next(iter(self._senders))]
        return number

    # -------------------------------------------------------------------------------------------------- subscribers

    async def subscribe(self, subscriber: Subscriber, topics: Collection[str], resume: Resume | None) -> bool:
        """Add topics, and tell the subscriber what it missed if the log still has it; say whether that was so.

        Raises:
            BackboneError: what it missed can't be read now.
        """
        subscriber.topics.update(topics)
        resumed = resume is not None and await self._can_resume(resume)
        if resumed and resume is not None and subscriber not in self._live:
            await self._catch_up(subscriber, resume.number)
        elif subscriber not in self._live:
            subscriber.number = self.number
        self._add(subscriber, topics)
        return resumed

    async def begins_after(self, resume: Resume) -> int | None:
        """Say where somebody begins who comes from another log, None for who does not.

        What is in this log was published since the other one was lost, so that nobody who comes from there has it, and
        all of it is told after the answer, from its beginning.

        Raises:
            BackboneError: that can't be read now.
        """
        if resume.log in {"", self.log_id}:
            return None
        return (await self._backbone.bounds()).floor

    async def subscribe_after(self, subscriber: Subscriber, topics: Collection[str], number: int) -> None:
        """Add topics, and tell the subscriber all that came after a number.

        Raises:
            BackboneError: that can't be read now.
        """
        subscriber.topics.update(topics)
        await self._catch_up(subscriber, number)
        self._add(subscriber, topics)

    def _add(self, subscriber: Subscriber, topics: Collection[str]) -> None:
        self._live[subscriber] = None
        for topic in topics:
            self._by_topic.setdefault(topic, {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, topics: Iterable[str]) -> None:
        """Take topics away."""
        for topic in topics:
            subscriber.topics.discard(topic)
            told = self._by_topic.get(topic)
            if told is not None:
                told.pop(subscriber, None)
                if not told:
                    del self._by_topic[topic]

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self.unsubscribe(subscriber, list(subscriber.topics))
        self._live.pop(subscriber, None)

    async def has_number(self, number: int) -> bool:
        """Tell whether the log has come to this number.

        Raises:
            BackboneError: that can't be read now.
        """
        # What another server has passed on already may be news to this one.
        return number <= self.number or number <= (await self._backbone.bounds()).head

    async def _can_resume(self, resume: Resume) -> bool:
        if resume.log != self.log_id:
            return False
        bounds = await self._backbone.bounds()
        return bounds.floor <= resume.number <= bounds.head

    async def _catch_up(self, subscriber: Subscriber, after: int) -> None:
        """Read what it missed; at the end no record may come in between this and the live ones."""
        subscriber.number = after
        while subscriber.number < self.number and not subscriber.closed:
            goal = self.number
            page = await self._backbone.read(subscriber.number, limit=_PAGE)
            for record in page:
                if record.number <= goal:
                    # A page may be more than may wait.
                    await subscriber.room()
                    self._offer(subscriber, record)
            # Only an empty page says that there is no more up to the goal: compaction leaves gaps, and pages of large
            # records are short.
            subscriber.number = min(page[-1].number, goal) if page else goal

    # ------------------------------------------------------------------------------------------------------ telling

    def _tell(self, batch: Iterable[LogRecord]) -> None:
        for record in batch:
            frames: dict[tuple[str, int], bytes] = {}
            body_for = bodies_for(record)
            told: dict[Subscriber, str] = {}
            for topic in record.topics:
                for subscriber in self._by_topic.get(topic, ()):
                    told.setdefault(subscriber, topic)
            told.pop(self._senders.pop(record.number, None), None)  # type: ignore[arg-type]
            for subscriber, topic in told.items():
                body = body_for(subscriber.sees)
                # Who sees the same is sent the same bytes: each body is made once, and lasts as long as this turn.
                key = (topic, id(body))
                if key not in frames:
                    frames[key] = text_frame(notification(topic, record.number, body))
                subscriber.put(frames[key])
                subscriber.number = record.number
            self._metrics.count("messages.sent", len(told))
            self.number = record.number
            for watcher in self.watchers:
                try:
                    watcher(record)
                except Exception as err:  # noqa: BLE001 - a guarded edge: what one record says must not end the hub
                    why = f"{type(err).__name__}: {err}"
                    log.error("update_log.record_unreadable", number=record.number, error=why)  # noqa: TRY400 - said in a line

    def _offer(self, subscriber: Subscriber, record: LogRecord) -> None:
        topic = next((topic for topic in record.topics if topic in subscriber.topics), None)
        if topic is not None and record.kind == "data":
            body = bodies_for(record)(subscriber.sees)
            subscriber.put(text_frame(notification(topic, record.number, body)))
            self._metrics.count("messages.replayed")
