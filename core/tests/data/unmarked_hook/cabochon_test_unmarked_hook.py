"""A plugin whose hook lacks the decorator: pluggy would not see it."""

from collections.abc import Iterable

from cabochon import FetcherType


def cabochon_fetchers() -> Iterable[FetcherType]:
    return ()
