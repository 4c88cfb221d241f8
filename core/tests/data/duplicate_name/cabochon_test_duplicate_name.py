"""A plugin that claims the name of another one's fetcher, in another case."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from cabochon import Fetcher, FetcherType, hookimpl


@asynccontextmanager
async def open_fetcher(_settings: object) -> AsyncGenerator[Fetcher]:
    raise NotImplementedError
    yield


@hookimpl
def cabochon_fetchers() -> Iterable[FetcherType]:
    yield FetcherType(name="GOOD", summary="Takes a name that is taken", open=open_fetcher)
