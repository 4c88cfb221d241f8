"""A pipeline on the mock store, driven by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import msgspec
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cabochon import CallbackReporter, Connected, DataUpdateReceived, PolicyStore, SourceEvent, TransactionListener
from cabochon import UpdateSource as UpdateSourceBase
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle, RegoModule
from cabochon.settings.core import CoreSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon_mock_store import MockEngine, MockPolicyStore
from cabochon_mock_store.listener import MockHealthListener

PATIENCE_S = 10.0


class HandSource(UpdateSourceBase):
    """Yields what a test sends."""

    def __init__(self) -> None:
        self.send: MemoryObjectSendStream[SourceEvent]
        self._events: MemoryObjectReceiveStream[SourceEvent]
        self.send, self._events = anyio.create_memory_object_stream[SourceEvent](1_000)
        self.has_policies = False
        self.policies: dict[str, str] = {}
        self.base = DataSourceConfig()

    async def events(self) -> AsyncIterator[SourceEvent]:
        async for event in self._events:
            yield event

    def close(self) -> None:
        self.send.close()
        self._events.close()

    async def data_sources(self) -> DataSourceConfig:
        return self.base

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del directories
        version = str(hash(tuple(self.policies.items())))
        if version == base_hash:
            return None
        modules = tuple(RegoModule(path=path, package_name="", rego=text) for path, text in self.policies.items())
        return PolicyBundle(manifest=tuple(self.policies), hash=version, data_modules=(), policy_modules=modules)


@dataclass
class Running:
    """A running pipeline and what it works on."""

    pipeline: Pipeline
    source: HandSource
    engine: MockEngine

    async def publish(self, update_id: str, *entries: Mapping[str, Any]) -> None:
        """Publish an update; entries leave out what has a default."""
        document = {"id": update_id, "entries": [{"url": "", **entry} for entry in entries]}
        await self.source.send.send(DataUpdateReceived(_update(document)))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; what happens in between is all in this process, so looking often is cheap."""
        with anyio.move_on_after(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - any state at all, which has no event
                await anyio.sleep(0.002)
            return
        pytest.fail(f"not within {PATIENCE_S:g} s: {what}")

    async def ended(self, update_id: str) -> None:
        """Wait until an update is the last one that has ended, well or not."""
        await self.until(
            lambda: (
                update_id
                in {
                    record.id
                    for record in (self.pipeline.log.data.last, self.pipeline.log.data.last_failed)
                    if record is not None
                }
            ),
            f"the end of {update_id}",
        )


def base_data(path: str, data: object, *, every_s: float | None = None) -> DataSourceConfig:
    """A list of one base data source, whose data are inline."""
    entry = {"url": "", "dst_path": path, "data": data, "periodic_update_interval": every_s}
    return msgspec.json.decode(msgspec.json.encode({"entries": [entry]}), type=DataSourceConfig)


def _update(document: Mapping[str, Any]) -> DataUpdate:
    return msgspec.json.decode(msgspec.json.encode(document), type=DataUpdate)


class Start(Protocol):
    """Starts a pipeline."""

    def __call__(
        self,
        *,
        listeners: Mapping[str, TransactionListener] | None = None,
        reporters: Mapping[str, CallbackReporter] | None = None,
        store: Callable[[MockEngine], PolicyStore] = MockPolicyStore,
        policies: Mapping[str, str] | None = None,
        source: Callable[[], HandSource] = ...,
        **settings: Any,
    ) -> AbstractAsyncContextManager[Running]: ...


@asynccontextmanager
async def _running(
    *,
    listeners: Mapping[str, TransactionListener] | None = None,
    reporters: Mapping[str, CallbackReporter] | None = None,
    store: Callable[[MockEngine], PolicyStore] = MockPolicyStore,
    policies: Mapping[str, str] | None = None,
    source: Callable[[], HandSource] = HandSource,
    **settings: Any,
) -> AsyncGenerator[Running]:
    open_source, engine = source(), MockEngine()
    if policies is not None:
        open_source.has_policies = True
        open_source.policies = dict(policies)
    parts = PipelineParts(
        store=store(engine),
        source=open_source,
        listeners={"health": MockHealthListener(), **(listeners or {})},
        reporters_by_scheme=reporters or {},
    )
    pipeline = Pipeline(parts, CoreSettings.model_validate(settings))
    async with anyio.create_task_group() as tasks:
        await tasks.start(pipeline.run)
        await open_source.send.send(Connected())
        yield Running(pipeline, open_source, engine)
        pipeline.stop()
    open_source.close()


@pytest.fixture
def start() -> Start:
    """Start a pipeline on a mock engine of its own."""
    return _running
