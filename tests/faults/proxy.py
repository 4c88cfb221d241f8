"""A reverse proxy between agent and OPA that breaks some of the answers, and lets the requests through all the same."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Do", "Proxy"]

_RESET = struct.pack("ii", 1, 0)


class Do(Enum):
    """What becomes of a request."""

    PASS = auto()
    """Passed on, and answered."""
    REFUSE = auto()
    """Answered with 503, and not passed on."""
    PASS_AND_REFUSE = auto()
    """Passed on, and answered with 503 all the same."""
    CUT = auto()
    """Not passed on; the connection breaks."""
    PASS_AND_CUT = auto()
    """Passed on; the connection breaks in place of an answer."""


class Proxy:
    """Listens on 127.0.0.1 from enter to exit.

    Args:
        url: where requests are passed on to.

    Attributes:
        judge: says what becomes of a request, from its method and body; called in threads of the proxy's.
        done: how often it did what to which method.
    """

    def __init__(self, url: str) -> None:
        self.target = url.removeprefix("http://")
        self.judge: Callable[[str, bytes], Do] = lambda _method, _body: Do.PASS
        self.done: Counter[tuple[Do, str]] = Counter()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] # it is always ours
    upstream: http.client.HTTPConnection | None = None

    def _serve(self) -> None:
        proxy = self.server.proxy
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        verdict = proxy.judge(self.command, body)
        proxy.done[verdict, self.command] += 1
        passed_on = verdict in {Do.PASS, Do.PASS_AND_REFUSE, Do.PASS_AND_CUT}
        answer = self._pass_on(body) if passed_on else None
        if verdict in {Do.CUT, Do.PASS_AND_CUT} or (passed_on and answer is None):
            self._cut()
        elif verdict is Do.PASS and answer is not None:
            self._answer(*answer)
        else:
            self._answer(503, b'{"code": "unavailable"}')

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _pass_on(self, body: bytes) -> tuple[int, bytes] | None:
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection(self.server.proxy.target, timeout=30)
        headers = {name: self.headers[name] for name in ("Content-Type", "If-None-Match") if name in self.headers}
        try:
            self.upstream.request(self.command, self.path, body or None, headers)
            answer = self.upstream.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.upstream.close()
            return None

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        if status not in {204, 304}:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True

    def finish(self) -> None:
        """Close both sides."""
        if self.upstream is not None:
            self.upstream.close()
        super().finish()
