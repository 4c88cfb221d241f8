"""A collector that takes OTLP over HTTP, for real, and an agent that is traced to it."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cabochon_mock_store.offline_agent import AsyncOfflineAgent, open_offline_agent
from cabochon_opentelemetry import plugin

Start = Callable[..., AbstractAsyncContextManager[AsyncOfflineAgent]]


class Collector:
    """Keeps the spans that it is sent; `requests` counts how often it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests = 0
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    def took(self, body: bytes) -> None:
        """Take a request in."""
        self.requests += 1
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            for scope in of_resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Span]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        """The only span of this name."""
        (span,) = self.named(name)
        return span


@pytest.fixture
def collector() -> Generator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            found.took(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start an agent that is traced to a URL, unless the settings say otherwise."""

    @asynccontextmanager
    async def started(url: str, **settings: str) -> AsyncGenerator[AsyncOfflineAgent]:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        environ = {"OPAL_OPENTELEMETRY_ENABLED": "true", **settings}
        async with open_offline_agent(settings=environ, plugins=[("opentelemetry", plugin)]) as agent:
            yield agent

    return started
