"""The outside world of a test, in memory: documents to fetch and reports to receive, whatever their URLs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from cabochon import (
    Callback,
    CallbackReporter,
    CallbackReporterType,
    Fetcher,
    FetcherType,
    FetchStatusError,
    ReportError,
    hookimpl,
)
from cabochon.schemas import DataUpdateReport

__all__ = ["InMemoryWorld", "ReceivedReport"]

SCHEMES = ("memory", "http", "https")


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A report that was delivered: to whom, and what it said.

    Attributes:
        url: the callback's URL.
        report: the report.
    """

    url: str
    report: DataUpdateReport

    @property
    def follow_up(self) -> bool:
        """Whether it tells what became of entries that had failed."""
        return bool(self.report.user_data.get("follow_up"))

    @property
    def saved(self) -> bool:
        """Whether every entry was saved."""
        return all(entry.saved for entry in self.report.reports)


@dataclass(slots=True)
class _Served:
    raw: bytes
    fail_times: int


class InMemoryWorld:
    """A plugin object: a fetcher and a callback reporter for `memory:`, `http:` and `https:` URLs that use no network.

    Attributes:
        fetches: the URL of each fetch so far, failed ones included.
        reports: every report that was delivered, in order.
    """

    def __init__(self) -> None:
        self.fetches: list[str] = []
        self.reports: list[ReceivedReport] = []
        self._served: dict[str, _Served] = {}
        self._refuse: dict[str, int] = {}

    def serve(self, url: str, document: Any, *, fail_times: int = 0) -> str:  # noqa: ANN401 - any JSON
        """Answer fetches of `url` with a document, after `fail_times` answers of 503; return the URL."""
        self._served[url] = _Served(json.dumps(document).encode(), fail_times)
        return url

    def refuse_reports(self, url: str, *, times: int = 1) -> None:
        """Answer the next reports to the callback `url` with 503."""
        self._refuse[url] = times

    # ------------------------------------------------------------------------------------------------- as a plugin

    @hookimpl
    def cabochon_fetchers(self) -> Iterable[FetcherType]:
        """Offer the fetcher."""

        @asynccontextmanager
        async def open_fetcher(_: object) -> AsyncGenerator[Fetcher]:
            yield _WorldFetcher(self)

        yield FetcherType(
            name="memory",
            summary="Documents of a test",
            open=open_fetcher,
            schemes=SCHEMES,
            aliases=("http", "HttpFetchProvider"),
        )

    @hookimpl
    def cabochon_callback_reporters(self) -> Iterable[CallbackReporterType]:
        """Offer the reporter."""

        @asynccontextmanager
        async def open_reporter(_: object) -> AsyncGenerator[CallbackReporter]:
            yield _WorldReporter(self)

        yield CallbackReporterType(name="memory", summary="Reports of a test", open=open_reporter, schemes=SCHEMES)

    # ------------------------------------------------------------------------------------ what its two parts ask it

    def fetch(self, url: str) -> bytes:
        """Answer one fetch."""
        self.fetches.append(url)
        served = self._served.get(url)
        if served is None:
            known = ", ".join(sorted(self._served)) or "nothing"
            message = f"{url} is not served by this test, which serves {known}: call serve(url, document)"
            raise FetchStatusError(message, url=url, status_code=404, again=False)
        if served.fail_times:
            served.fail_times -= 1
            raise FetchStatusError(f"{url} was told to fail", url=url, status_code=503, again=True)
        return served.raw

    def receive(self, url: str, raw: bytes) -> None:
        """Take one report."""
        if self._refuse.get(url):
            self._refuse[url] -= 1
            raise ReportError(f"{url} was told to refuse reports")
        self.reports.append(ReceivedReport(url, msgspec.json.decode(raw, type=DataUpdateReport)))


class _WorldFetcher(Fetcher):
    def __init__(self, world: InMemoryWorld) -> None:
        self._world = world

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        del config
        return self._world.fetch(url)


class _WorldReporter(CallbackReporter):
    def __init__(self, world: InMemoryWorld) -> None:
        self._world = world

    async def report(self, report: bytes, callback: Callback) -> None:
        self._world.receive(callback.url, report)
