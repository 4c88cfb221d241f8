"""The source kit: a good source passes, and each promise catches the source that breaks it."""

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import msgspec
import pytest
import structlog

from cabochon.contract.update_source import Connected, DataUpdateReceived, SourceEvent, UpdateSource, UpdateSourceType
from cabochon.documents import json_values
from cabochon.schemas import (
    DataSourceConfig,
    DataSourceEntryWithPollingInterval,
    DataUpdate,
    DeletedFiles,
    PolicyBundle,
    RegoModule,
)
from cabochon.testing.in_process_source import InProcessSource
from cabochon.testing.update_source_contract import UpdateFeed, UpdateSourceContract

BASE_DATA = DataSourceConfig(entries=(DataSourceEntryWithPollingInterval(url="http://data.example", dst_path="/a"),))
POLICIES = {"a.rego": "package a\n", "b.rego": "package b\n"}
ROOM = 20


class Broker:
    """What is published, as text, and the policies of now: one for each test."""

    def __init__(self) -> None:
        self.send, self.receive = anyio.create_memory_object_stream[bytes](ROOM)
        self.policies = dict(POLICIES)


class BrokerFeed(UpdateFeed):
    base_data = BASE_DATA
    policies = POLICIES

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def publish(self, update: DataUpdate) -> None:
        await self.broker.send.send(msgspec.json.encode(update))

    async def publish_malformed(self) -> None:
        await self.broker.send.send(b'{"entries": "hunter2"}')

    async def change_policies(self, policies: Mapping[str, str]) -> None:
        self.broker.policies = dict(policies)


def bundle_of(policies: Mapping[str, str]) -> PolicyBundle:
    return PolicyBundle(
        manifest=tuple(policies),
        hash=json_values.peer_hash(msgspec.json.encode(policies)),
        data_modules=(),
        policy_modules=tuple(RegoModule(path=path, package_name="", rego=rego) for path, rego in policies.items()),
    )


class BrokerSource(UpdateSource):
    """Keeps every promise; policies travel as a difference where the base is known."""

    topics: Sequence[str] = ("policy_data",)

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.known = {bundle_of(POLICIES).hash: dict(POLICIES)}

    async def events(self) -> AsyncGenerator[SourceEvent]:
        yield Connected()
        while True:
            event = self.event(await self.broker.receive.receive())
            if event is not None:
                yield event

    def event(self, raw: bytes) -> SourceEvent | None:
        try:
            return DataUpdateReceived(msgspec.json.decode(raw, type=DataUpdate), self.topics[0], 1)
        except msgspec.ValidationError as err:
            structlog.get_logger().warning("data_update.malformed", error=str(err))
            return None

    async def data_sources(self) -> DataSourceConfig:
        return BASE_DATA

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del directories
        now = bundle_of(self.broker.policies)
        base = self.known.get(base_hash or "")
        if base_hash == now.hash:
            return None
        if base is None:
            return now
        return msgspec.structs.replace(
            now,
            old_hash=base_hash,
            policy_modules=tuple(one for one in now.policy_modules if base.get(one.path) != one.rego),
            deleted_files=DeletedFiles(policy_modules=tuple(base.keys() - self.broker.policies.keys())),
        )


Offer = Callable[[Broker], UpdateSourceType]


def offering(source: Callable[[Broker], UpdateSource]) -> Offer:
    def offer(broker: Broker) -> UpdateSourceType:
        @asynccontextmanager
        async def open_source(_: object) -> AsyncGenerator[UpdateSource]:
            yield source(broker)

        return UpdateSourceType(name="broker", summary="Updates of a test", open=open_source)

    return offer


@pytest.fixture
def broker() -> Any:  # noqa: ANN401 - a generator fixture
    broker = Broker()
    yield broker
    broker.send.close()
    broker.receive.close()


class TestBrokerSource(UpdateSourceContract):
    """A source that keeps every promise passes."""

    @pytest.fixture
    def source_type(self, broker: Broker) -> UpdateSourceType:
        return offering(BrokerSource)(broker)

    @pytest.fixture
    def feed(self, broker: Broker) -> UpdateFeed:
        return BrokerFeed(broker)


class InProcessFeed(UpdateFeed):
    base_data = BASE_DATA
    policies = POLICIES

    def __init__(self) -> None:
        self.source = self.fresh()

    def fresh(self) -> InProcessSource:
        self.source = InProcessSource(base_data=BASE_DATA, bundle=bundle_of(POLICIES), capacity=ROOM)
        return self.source

    async def publish(self, update: DataUpdate) -> None:
        await self.source.publish(update)

    async def publish_malformed(self) -> None:
        structlog.get_logger().warning("data_update.malformed", why="the publisher is told instead")
        with pytest.raises(msgspec.ValidationError):
            await self.source.publish({"entries": self.secret})

    async def change_policies(self, policies: Mapping[str, str]) -> None:
        await self.source.change_policies(bundle_of(policies))


class TestInProcessSource(UpdateSourceContract):
    """So does the source that a program feeds."""

    @pytest.fixture
    def feed(self) -> InProcessFeed:
        return InProcessFeed()

    @pytest.fixture
    def source_type(self, feed: InProcessFeed) -> UpdateSourceType:
        @asynccontextmanager
        async def open_source(_: object) -> AsyncGenerator[UpdateSource]:
            yield feed.fresh()

        return UpdateSourceType(name="in-process", summary="Updates of this program", open=open_source)


# --------------------------------------------------------------------------------------------- those that break one


class SaysNothingAtFirst(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        async with aclosing(super().events()) as events:
            async for event in events:
                if not isinstance(event, Connected):
                    yield event


class ClaimsToResume(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        async with aclosing(super().events()) as events:
            async for event in events:
                yield Connected(resumed=True) if isinstance(event, Connected) else event


class SwapsNeighbours(BrokerSource):
    held: SourceEvent | None = None

    async def events(self) -> AsyncGenerator[SourceEvent]:
        async with aclosing(super().events()) as events:
            async for event in events:
                if isinstance(event, DataUpdateReceived) and event.update.id == "update-7":
                    self.held = event
                    continue
                yield event
                if self.held is not None:
                    yield self.held
                    self.held = None


class RepeatsItself(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        async with aclosing(super().events()) as events:
            async for event in events:
                yield event
                if isinstance(event, DataUpdateReceived) and event.update.id == "update-49":
                    yield event


class Altering(BrokerSource):
    """Yields updates that are not quite those that were published."""

    def event(self, raw: bytes) -> SourceEvent | None:
        event = super().event(raw)
        if isinstance(event, DataUpdateReceived):
            return msgspec.structs.replace(event, update=self.altered(event.update))
        return event

    def altered(self, update: DataUpdate) -> DataUpdate:
        return msgspec.structs.replace(update, reason=None)


class RoundsNumbers(Altering):
    def altered(self, update: DataUpdate) -> DataUpdate:
        entries = [
            msgspec.structs.replace(one, data=msgspec.Raw(msgspec.json.encode(msgspec.json.decode(one.inline))))
            if one.inline is not None
            else one
            for one in update.entries
        ]
        return msgspec.structs.replace(update, entries=tuple(entries))


class EndsWhenQuiet(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        yield Connected()
        while True:
            raw = b""
            with anyio.move_on_after(0.1):
                raw = await self.broker.receive.receive()
            if not raw:
                return
            event = self.event(raw)
            if event is not None:
                yield event


class DiesOfNonsense(BrokerSource):
    def event(self, raw: bytes) -> SourceEvent | None:
        return DataUpdateReceived(msgspec.json.decode(raw, type=DataUpdate))


class SkipsInSilence(BrokerSource):
    def event(self, raw: bytes) -> SourceEvent | None:
        try:
            return DataUpdateReceived(msgspec.json.decode(raw, type=DataUpdate))
        except msgspec.ValidationError:
            return None


class LogsEverything(BrokerSource):
    def event(self, raw: bytes) -> SourceEvent | None:
        structlog.get_logger().warning("data_update.malformed", raw=raw)
        return super().event(raw)


class RunsAhead(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        yield Connected()
        ahead: list[SourceEvent] = []
        more = anyio.Event()

        async def run_ahead() -> None:
            while True:
                event = self.event(await self.broker.receive.receive())
                if event is not None:
                    ahead.append(event)
                    more.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_ahead)
            while True:
                await more.wait()
                yield ahead.pop(0)
                if not ahead:
                    more = anyio.Event()


class TakesEachPositionOnce(BrokerSource):
    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.acknowledged = 0

    async def acknowledge(self, position: object) -> None:
        self.acknowledged += 1
        if self.acknowledged > 2:
            raise ValueError(f"{position} was acknowledged before")


class TakesEachEndOnce(BrokerSource):
    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.told = 0

    def ended(self, position: object, error: str | None) -> None:
        self.told += 1
        if self.told > 2:
            raise ValueError(f"{position} has ended before, without {error}")


class ForgetsItsSources(BrokerSource):
    asked = False

    async def data_sources(self) -> DataSourceConfig:
        asked, self.asked = self.asked, True
        return DataSourceConfig() if asked else BASE_DATA


class HasOneTopic(BrokerSource):
    topics = "policy_data"


class TrustsAnyBase(BrokerSource):
    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        bundle = await super().policy_bundle(base_hash, directories)
        return bundle and msgspec.structs.replace(bundle, old_hash=base_hash)


class HidesItsPolicies(BrokerSource):
    has_policies = False


class HashesTheTime(BrokerSource):
    asked = 0

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        self.asked += 1
        bundle = await super().policy_bundle(None, directories)
        return bundle and msgspec.structs.replace(bundle, hash=str(self.asked))


class NeverDeletes(BrokerSource):
    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        bundle = await super().policy_bundle(base_hash, directories)
        return bundle and msgspec.structs.replace(bundle, deleted_files=None)


class IgnoresCancellation(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        yield Connected()
        with anyio.move_on_after(0.6, shield=True):
            await anyio.sleep_forever()


LEFT: list[object] = []


class LeavesTasks(BrokerSource):
    async def events(self) -> AsyncGenerator[SourceEvent]:
        leave_a_task()
        async with aclosing(super().events()) as events:
            async for event in events:
                yield event


def leave_a_task() -> None:
    try:
        LEFT.append(asyncio.get_running_loop().create_task(asyncio.sleep(1.5)))
    except RuntimeError:
        trio: Any = sys.modules["trio"]
        LEFT.append(trio.lowlevel.spawn_system_task(trio.sleep, 1.5))


def with_a_long_name(broker: Broker) -> UpdateSourceType:
    return replace(offering(BrokerSource)(broker), name="the broker")


BROKEN: list[tuple[str, Offer]] = [
    ("test_first_event_is_connected", offering(SaysNothingAtFirst)),
    ("test_first_event_is_connected", offering(ClaimsToResume)),
    ("test_updates_come_in_order", offering(SwapsNeighbours)),
    ("test_updates_come_in_order", offering(RepeatsItself)),
    ("test_updates_come_unchanged", offering(Altering)),
    ("test_updates_come_unchanged", offering(RoundsNumbers)),
    ("test_quiet_source_waits", offering(EndsWhenQuiet)),
    ("test_malformed_update_is_skipped", offering(DiesOfNonsense)),
    ("test_malformed_update_is_logged", offering(SkipsInSilence)),
    ("test_malformed_update_is_logged", offering(LogsEverything)),
    ("test_source_does_not_run_ahead", offering(RunsAhead)),
    ("test_acknowledging_is_harmless", offering(TakesEachPositionOnce)),
    ("test_ends_are_harmless", offering(TakesEachEndOnce)),
    ("test_data_sources_are_those_that_were_set_up", offering(ForgetsItsSources)),
    ("test_topics_are_a_list_of_names", offering(HasOneTopic)),
    ("test_bundle_is_whole_without_a_base", offering(TrustsAnyBase)),
    ("test_bundle_is_whole_without_a_base", offering(HidesItsPolicies)),
    ("test_unchanged_policies_are_nothing_new", offering(HashesTheTime)),
    ("test_changed_policies_are_another_bundle", offering(NeverDeletes)),
    ("test_cancelled_wait_ends_at_once", offering(IgnoresCancellation)),
    ("test_closing_leaves_nothing_behind", offering(LeavesTasks)),
    ("test_registration_is_complete", with_a_long_name),
]


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is not waited for as long as on a busy machine."""
    monkeypatch.setattr("cabochon.testing._source_feed.PROMPT_S", 0.8)


async def run(test: Callable[..., Any], offered: UpdateSourceType, feed: UpdateFeed) -> None:
    async with offered.open(None) as source:
        given = {"source": source, "source_type": offered, "feed": feed, "settings": None}
        result = test(**{name: given[name] for name in inspect.signature(test).parameters})
        if inspect.isawaitable(result):
            await result


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize(("test", "offer"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
async def test_kit_names_the_promise_that_a_source_breaks(test: str, offer: Offer, broker: Broker) -> None:
    """A source that breaks one promise fails the test of that promise, in the promise's words."""
    bound = getattr(UpdateSourceContract(), test)
    promise = " ".join((inspect.getdoc(bound) or "").split())

    with pytest.raises(BaseException) as caught:  # noqa: PT011 # whichever way it fails
        await run(bound, offer(broker), BrokerFeed(broker))

    assert f"Broken promise: {promise}" in caught.value.__notes__


def test_kit_has_a_breaker_for_each_promise() -> None:
    """No test of the kit is without a source that fails it."""
    kit = {name for name in vars(UpdateSourceContract) if name.startswith("test_")}
    assert kit == {test for test, _ in BROKEN}
