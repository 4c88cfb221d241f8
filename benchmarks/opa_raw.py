"""What the OPA benchmarks measure against: OPA asked directly, with nothing of the agent in between."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json"}


def cpu_seconds(pid: int) -> float:
    """Processor time that another process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def modules(count: int) -> dict[str, str]:
    """So many modules, each in a package of its own, with a default and a rule."""
    text = "package team{n}.app{n}\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.level > {n}\n"
    return {f"teams/{n}/policy.rego": text.format(n=n) for n in range(count)}


def write_modules(policies: Mapping[str, str], directory: Path) -> None:
    for name, source in policies.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, "utf-8")


class RawOpa:
    """OPA over one connection that stays open."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, JSON)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def write(self, method: str, path: str, body: bytes) -> None:
        status, said = self.ask(method, path, body)
        if status not in {200, 204}:
            raise SystemExit(f"OPA answers {method} {path} with {status}: {said[:200]!r}")

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The document at `path`, None if there is none."""
        return json.loads(self.ask("GET", f"/v1/data/{path}")[1]).get("result")

    def patches_per_s(self, bodies: Sequence[bytes]) -> float:
        """How many of these patches OPA takes in a second, one after the other."""
        started = time.perf_counter()
        for body in bodies:
            self.write("PATCH", "/v1/data", body)
        return len(bodies) / (time.perf_counter() - started)


def patch_bodies(documents: Iterable[tuple[str, bytes]], batch: int) -> list[bytes]:
    """Patches of `batch` operations each, which add documents at paths."""
    operations = [b'{"op":"add","path":"%s","value":%s}' % (path.encode(), raw) for path, raw in documents]
    pieces = [operations[start : start + batch] for start in range(0, len(operations), batch)]
    return [b"[" + b",".join(piece) + b"]" for piece in pieces]


class OneBundle(ThreadingHTTPServer):
    """Serves one bundle by long polling, and nothing until `release`; a service of OPA's with nothing behind it."""

    daemon_threads = True

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _BundleHandler)
        self.archive = archive
        self.asked = threading.Event()
        self.released = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def config(self) -> dict[str, Any]:
        """OPA's configuration."""
        polling = {"min_delay_seconds": 1, "max_delay_seconds": 1, "long_polling_timeout_seconds": 30}
        return {
            "services": {"raw": {"url": f"http://127.0.0.1:{self.server_address[1]}"}},
            "bundles": {"raw": {"service": "raw", "resource": "/bundle.tar.gz", "polling": polling}},
        }


class _BundleHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, OneBundle)
        server.asked.set()
        server.released.wait()
        known = self.headers.get("If-None-Match") is not None
        if known:
            time.sleep(5)
        self.send_response(304 if known else 200)
        self.send_header("Content-Type", "application/vnd.openpolicyagent.bundles")
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0" if known else str(len(server.archive)))
        self.end_headers()
        if not known:
            self.wfile.write(server.archive)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
