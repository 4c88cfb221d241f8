"""A plugin whose hook is `async def`: pluggy would never run it."""

from collections.abc import Iterable

from cabochon import FetcherType, hookimpl


@hookimpl
async def cabochon_fetchers() -> Iterable[FetcherType]:
    return ()
