"""The HTTP fetcher keeps the contract of fetchers, against a real server."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cabochon.contract.fetcher import FetcherType
from cabochon.documents import json_values
from cabochon.testing.fetcher_contract import FetchEntry, FetcherContract, FetchSource
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_http_fetcher.plugin import cabochon_fetchers


class HttpSource(FetchSource):
    """Documents of a scripted server, asked for with every kind of secret."""

    def __init__(self, server: ScriptedHttpServer) -> None:
        self.server = server

    def entry(self, name: str, *answers: Answer, blames: str = "", **config: Any) -> FetchEntry:
        self.server.route(f"/{name}", *answers)
        return FetchEntry(
            url=f"http://bob:hunter2@127.0.0.1:{self.server.port}/{name}?key=t0ken",
            config={"headers": {"X-Api-Key": "s3cret"}, "timeout": 10, **config},
            secrets=("hunter2", "t0ken", "s3cret"),
            blames=blames,
        )

    async def holding(self, document: Any, *, name: str = "document") -> FetchEntry:  # noqa: ANN401 # any JSON
        return self.entry(name, Answer(body=json_values.encode(document)))

    async def refusing(self) -> FetchEntry:
        return self.entry("refusing", Answer(status=403))

    async def failing(self) -> FetchEntry:
        return self.entry("failing", Answer(status=503))

    async def hanging(self) -> FetchEntry:
        return self.entry("hanging", Answer(hold=threading.Event()), timeout=60)

    async def timing_out(self) -> FetchEntry:
        return self.entry("timing-out", Answer(hold=threading.Event()), timeout=0.05)

    async def misconfigured(self) -> FetchEntry:
        return self.entry("document", Answer(), blames="config.timeout", timeout="soon")


class TestHttpFetcher(FetcherContract):
    """The fetcher `http`."""

    @pytest.fixture
    def fetcher_type(self) -> FetcherType:
        (offered,) = cabochon_fetchers()
        return offered

    @pytest.fixture
    def source(self) -> Iterator[FetchSource]:
        with ScriptedHttpServer() as server:
            yield HttpSource(server)
