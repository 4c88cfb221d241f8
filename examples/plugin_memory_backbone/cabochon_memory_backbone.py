"""A backbone in memory, gone with its one server: it keeps everything that was published, and knows no agents."""

import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from cabochon import Backbone, BackboneType, Bounds, LogRecord, NewRecord, Retention, hookimpl


class MemoryLog(Backbone):
    log_id = "memory"

    def __init__(self) -> None:
        self._records: list[LogRecord] = []
        self._grown = anyio.Event()

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        first = len(self._records) + 1
        self._records += [
            LogRecord(number, new.kind, new.topics, new.body, time.time())
            for number, new in enumerate(records, start=first)
        ]
        self._grown.set()
        self._grown = anyio.Event()
        return range(first, len(self._records) + 1)

    async def bounds(self) -> Bounds:
        return Bounds(floor=0, head=len(self._records))

    async def read(self, after: int, *, limit: int) -> Sequence[LogRecord]:
        return self._records[after : after + limit]

    async def follow(self, after: int) -> AsyncGenerator[Sequence[LogRecord]]:
        while True:
            if page := await self.read(after, limit=100):
                after = page[-1].number
                yield page
            else:
                await self._grown.wait()

    async def compact(self, superseded: Mapping[int, int]) -> None:
        pass

    async def superseded(self, numbers: Collection[int]) -> Mapping[int, int]:
        return {}

    async def trim(self, limits: Retention) -> Bounds:
        return await self.bounds()

    async def save_documents(self, documents: Mapping[str, bytes]) -> None:
        pass

    async def documents(self) -> Mapping[str, bytes]:
        return {}

    async def forget_documents(self, names: Collection[str]) -> None:
        pass


@asynccontextmanager
async def open_memory(_settings: None, _url: str) -> AsyncGenerator[MemoryLog]:
    yield MemoryLog()


@hookimpl
def cabochon_backbones() -> Sequence[BackboneType]:
    return [BackboneType(name="memory", summary="In memory", open=open_memory, schemes=("memory",))]
