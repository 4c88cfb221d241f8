"""A plugin whose hook raises only when its answer is looked at, after one good registration."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from cabochon import Fetcher, FetcherType, hookimpl


@asynccontextmanager
async def open_fetcher(_settings: object) -> AsyncGenerator[Fetcher]:
    raise NotImplementedError
    yield


@hookimpl
def cabochon_fetchers() -> Iterable[FetcherType]:
    yield FetcherType(name="half", summary="Comes before the failure", open=open_fetcher)
    raise OSError("no licence file")
