"""A plugin whose hook is misspelt: pluggy would never call it."""

from collections.abc import Iterable

from cabochon import FetcherType, hookimpl


@hookimpl
def cabochon_fetcher() -> Iterable[FetcherType]:
    return ()
