"""The HTTP reporter keeps the contract of callback reporters, against a real server."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cabochon.contract.callback_reporter import Callback, CallbackReporterType
from cabochon.testing.callback_reporter_contract import CallbackReporterContract, ReportReceiver, ReportTarget
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_callbacks.plugin import cabochon_callback_reporters


class HttpReceiver(ReportReceiver):
    """Routes of a scripted server, called with every kind of secret."""

    def __init__(self, server: ScriptedHttpServer) -> None:
        self.server = server

    def target(self, name: str, answer: Answer, *, blames: str = "", **config: Any) -> ReportTarget:
        self.server.route(f"/{name}", answer)
        callback = Callback(
            url=f"http://bob:hunter2@127.0.0.1:{self.server.port}/{name}?key=t0ken",
            config={"method": "post", "headers": {"X-Api-Key": "s3cret"}, "timeout": 10, **config},
        )
        return ReportTarget(callback=callback, secrets=("hunter2", "t0ken", "s3cret"), blames=blames)

    async def accepting(self) -> ReportTarget:
        return self.target("accepting", Answer(status=202))

    async def received(self) -> list[bytes]:
        return [request.body for request in self.server.requests_to("/accepting")]

    async def refusing(self) -> ReportTarget:
        return self.target("refusing", Answer(status=401))

    async def failing(self) -> ReportTarget:
        return self.target("failing", Answer(status=502))

    async def hanging(self) -> ReportTarget:
        return self.target("hanging", Answer(hold=threading.Event()), timeout=60)

    async def timing_out(self) -> ReportTarget:
        return self.target("timing-out", Answer(hold=threading.Event()), timeout=0.05)

    async def misconfigured(self) -> ReportTarget:
        return self.target("misconfigured", Answer(), blames="config.headers", headers="X-Api-Key: s3cret")


class TestHttpCallbackReporter(CallbackReporterContract):
    """The reporter `http`."""

    @pytest.fixture
    def reporter_type(self) -> CallbackReporterType:
        (offered,) = cabochon_callback_reporters()
        return offered

    @pytest.fixture
    def receiver(self) -> Iterator[ReportReceiver]:
        with ScriptedHttpServer() as server:
            yield HttpReceiver(server)
