"""The other side of an update source under test, and how the kit listens and publishes."""

from __future__ import annotations

import gc
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, cast

import anyio
import msgspec
import pytest

from cabochon.contract.update_source import DataUpdateReceived, SourceEvent, UpdateSource
from cabochon.documents import json_values
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle

__all__ = [
    "QUIET_S",
    "UpdateFeed",
    "applied",
    "bundle",
    "comparable",
    "flood",
    "later",
    "listening",
    "made",
    "memory",
    "next_event",
    "next_update",
    "publish",
    "publish_around_malformed",
    "received",
]

PROMPT_S = 5.0
"""What should happen at once must happen within so many seconds, on a busy machine too."""

QUIET_S = 0.2
"""How long a source is listened to that should say nothing."""


class UpdateFeed(ABC):
    """The other side of the source under test: its server, its file, its broker, as real as can be.

    Attributes:
        base_data: what the source must give as base data sources.
        policies: what it must give as policies, by path; None if it gives none.
        secret: a text that `publish_malformed` publishes, and that no log may hold.
    """

    base_data: DataSourceConfig = DataSourceConfig()
    policies: Mapping[str, str] | None = None
    secret: str = "hunter2"  # noqa: S105 - it guards nothing

    @abstractmethod
    async def publish(self, update: DataUpdate) -> None:
        """Publish an update on a topic of the source's; return, at the latest, when the source has taken it."""

    @abstractmethod
    async def publish_malformed(self) -> None:
        """Publish something with `secret` in it that is no data update."""

    async def change_policies(self, policies: Mapping[str, str]) -> None:
        """Replace the policies; needed where `policies` is not None."""
        raise NotImplementedError("replace the policies")


# ------------------------------------------------------------------------------------------------------- listening


@asynccontextmanager
async def listening(source: UpdateSource) -> AsyncGenerator[AsyncIterator[SourceEvent]]:
    """Take the events of a source, and give them up at the end, as the core does."""
    events = source.events()
    if isinstance(events, AsyncGenerator):
        async with aclosing(cast("AsyncGenerator[SourceEvent]", events)):
            yield events
    else:
        yield events


async def next_event(events: AsyncIterator[SourceEvent]) -> SourceEvent:
    with anyio.fail_after(PROMPT_S):
        try:
            return await anext(events)
        except StopAsyncIteration:
            pytest.fail("the events have ended, though more may come")


async def next_update(events: AsyncIterator[SourceEvent]) -> DataUpdateReceived:
    while True:
        event = await next_event(events)
        if isinstance(event, DataUpdateReceived):
            return event


async def received(source: UpdateSource, feed: UpdateFeed, *updates: DataUpdate) -> list[DataUpdateReceived]:
    """Publish updates and take as many, and whatever comes in excess."""
    events_taken: list[DataUpdateReceived] = []
    async with listening(source) as events, anyio.create_task_group() as tasks:
        await next_event(events)
        tasks.start_soon(publish, feed, updates)
        while len(events_taken) < len(updates):
            events_taken.append(await next_update(events))
        with anyio.move_on_after(QUIET_S):
            events_taken.append(await next_update(events))
    return events_taken


# ------------------------------------------------------------------------------------------------------ publishing


def made(name: str, data: str = "1") -> DataUpdate:
    return msgspec.json.decode(
        b'{"id": "%b", "entries": [{"url": "", "dst_path": "/a", "data": %b}]}' % (name.encode(), data.encode()),
        type=DataUpdate,
    )


async def publish(feed: UpdateFeed, updates: Sequence[DataUpdate]) -> None:
    for update in updates:
        await feed.publish(update)


async def later(feed: UpdateFeed, update: DataUpdate) -> None:
    await anyio.sleep(QUIET_S)
    await feed.publish(update)


async def publish_around_malformed(feed: UpdateFeed) -> None:
    await feed.publish(made("before"))
    await feed.publish_malformed()
    await feed.publish(made("after"))


async def flood(feed: UpdateFeed) -> None:
    for number in range(2000):
        await feed.publish(made(f"flood-{number}", f'"{number:020000d}"'))


# ------------------------------------------------------------------------------------------------------- comparing


def comparable(update: DataUpdate) -> Any:  # noqa: ANN401 # nested tuples
    """Take an update apart, its documents by value: a source may lay out JSON anew."""
    return (
        update.id,
        update.reason,
        update.callback,
        [
            (
                msgspec.structs.replace(entry, data=msgspec.UNSET),
                None if entry.inline is None else json_values.decode(entry.inline),
            )
            for entry in update.entries
        ],
    )


async def bundle(source: UpdateSource, base_hash: str | None) -> PolicyBundle | None:
    with anyio.fail_after(PROMPT_S):
        return await source.policy_bundle(base_hash, ())


def applied(policies: Mapping[str, str] | None, bundle: PolicyBundle) -> dict[str, str]:
    """Return the policies after a bundle."""
    kept = dict(policies or {}) if bundle.old_hash is not None else {}
    gone = bundle.deleted_files.policy_modules if bundle.deleted_files is not None else ()
    for path in gone:
        kept.pop(path, None)
    return {**kept, **{module.path: module.rego for module in bundle.policy_modules}}


@contextmanager
def memory() -> Generator[Callable[[], int]]:
    """Measure how many more bytes Python holds."""
    gc.collect()
    traced_before = tracemalloc.is_tracing()
    if not traced_before:
        tracemalloc.start()
    start, _ = tracemalloc.get_traced_memory()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - start
    finally:
        if not traced_before:
            tracemalloc.stop()
