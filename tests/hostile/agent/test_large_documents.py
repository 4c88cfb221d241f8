"""Documents that are too large, alone or together: refused, let go, and the agent goes on."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from pathlib import Path

import httpx

from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_opa.testing import RealOpa

from ..authority.programs import Program, agent, server  # noqa: TID252 - a neighbour's
from .watching import resident_mb, until

TOO_LARGE_MB, REAL_MB = 140, 5


def test_documents_beyond_the_limit_leave_no_memory_behind(tmp_path: Path, opa: RealOpa) -> None:
    """
    Two hundred kilobytes that become two hundred megabytes, from many sources at once; a smaller one lands beside them.
    """
    bomb = gzip.compress(b'"' + b"x" * (TOO_LARGE_MB * 1_000_000) + b'"', 9)
    document = json.dumps({"x": "y" * (REAL_MB * 1_000_000)}).encode()
    with (
        ScriptedHttpServer() as theirs,
        server(tmp_path) as ours,
        agent(tmp_path, ours, opa.url, OPAL_HTTP_FETCHER_TIMEOUT="30", OPAL_FETCHING_CALLBACK_TIMEOUT="40") as one,
        httpx.Client(base_url=ours.url, trust_env=False) as http,
    ):
        coded = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        bad = [theirs.route(f"/bad/{index}", body=bomb, headers=coded) for index in range(6)]
        good = theirs.route("/good", body=document, headers={"Content-Type": "application/json"})
        most = Highest(one)
        for url in bad:
            publish(http, {"url": url, "dst_path": f"/bad{url[-2:]}"})
        publish(http, {"url": good, "dst_path": "/good"})
        until(lambda: "result" in httpx.get(f"{opa.url}/v1/data/good", timeout=30).json())
        until(lambda: len(one.lines("OPAL_HTTP_FETCHER_MAX_BYTES")) >= len(bad))
        assert most.end() < 1_500
        until(lambda: resident_mb(one) < 500, within_s=20)


def test_killed_worker_process_is_replaced(tmp_path: Path, opa: RealOpa) -> None:
    """
    The system ends it where memory is short: its work is begun again, and the agent runs on.
    """
    document = json.dumps({str(number): "y" * 40 for number in range(50_000)}).encode()
    with (
        ScriptedHttpServer() as theirs,
        server(tmp_path) as ours,
        agent(tmp_path, ours, opa.url, OPAL_FETCHING_CALLBACK_TIMEOUT="30") as one,
        httpx.Client(base_url=ours.url, trust_env=False) as http,
    ):
        good = theirs.route("/good", body=document, headers={"Content-Type": "application/json"})
        publish(http, {"url": good, "dst_path": "/one"})
        until(lambda: bool(workers(one)))
        for worker in workers(one):
            os.kill(worker, signal.SIGKILL)
        until(lambda: "result" in httpx.get(f"{opa.url}/v1/data/one", timeout=30).json())
        publish(http, {"url": good, "dst_path": "/two"})
        until(lambda: "result" in httpx.get(f"{opa.url}/v1/data/two", timeout=30).json())
        assert 200 == httpx.get(f"{one.url}/healthcheck").status_code


class Highest:
    """The most memory that a program has, looked at in a thread."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._most = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.05) and self._program.process.poll() is None:
            self._most = max(self._most, resident_mb(self._program))
            if self._most > 4_000:
                # Others use this machine, too.
                os.kill(self._program.pid, signal.SIGKILL)

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._most


def workers(program: Program) -> list[int]:
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text("ascii").split()
    return [int(child) for child in children]


def publish(http: httpx.Client, *entries: dict[str, object]) -> None:
    assert 200 == http.post("/data/config", json={"entries": entries}).status_code
