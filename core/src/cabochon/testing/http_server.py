"""A small real HTTP server that answers as it is told, for tests, demos and examples; it needs nothing installed."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

import anyio

__all__ = ["Answer", "RecordedRequest", "ScriptedHttpServer"]

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as it came.

    Attributes:
        method: in upper case.
        path: without the query.
        query: what stands behind `?`.
        headers: names in lower case.
        body: as it came, without any coding removed.
        at: `time.monotonic()` when it was read.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:  # noqa: ANN401 # it is JSON
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the server answers one request.

    Attributes:
        status: the status code.
        headers: sent beside `Content-Type` and `Content-Length`, or in their place.
        body: text and bytes are sent as they are.
        json: sent as JSON if `body` is empty and this is not None.
        chunks: sent one by one, chunked, in place of `body`; a generator may wait, or never end.
        delay_s: seconds to wait before the answer.
        hold: wait until this is set, or the server closes.
        disconnect: break the connection instead of answering; after the chunks, if there are any.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | bytes = b""
    json: Any = None
    chunks: Callable[[], Iterable[bytes]] | None = None
    delay_s: float = 0.0
    hold: threading.Event | None = None
    disconnect: bool = False


Script: TypeAlias = "Answer | Callable[[RecordedRequest], Answer]"
"""An answer, or what makes one from the request; it runs in the server's threads."""


class ScriptedHttpServer:
    """Answers on 127.0.0.1 as its routes say and keeps every request.

    It runs in threads of its own, so that it serves blocking code and either of anyio's backends alike.

    Example:
        >>> import urllib.request
        >>> with ScriptedHttpServer() as server:
        ...     url = server.route("/users", json={"alice": ["admin"]})
        ...     with urllib.request.urlopen(url) as answer:
        ...         print(answer.read().decode())
        ...     print(server.requests[0].method, server.requests[0].path)
        {"alice": ["admin"]}
        GET /users

    Attributes:
        requests: every request so far, in the order in which they were read.
        connections: how many connections were opened to it so far.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        """Prepare a server; entering it binds the port.

        Args:
            tls: serve HTTPS with this context.
            port: where to listen; 0 takes a free one.
        """
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self._routes: dict[str, list[Script]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._waiting: set[threading.Event] = set()
        self._tls = tls
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end, such as `http://127.0.0.1:41833`."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("enter the server first: `with ScriptedHttpServer() as server`")
        return self._server.server_address[1]

    def route(self, path: str, *script: Script, fail_times: int = 0, fail_status: int = 503, **answer: Any) -> str:
        """Say how `path` is answered, replacing what was said before; any other path gets 404.

        Args:
            path: without a query.
            script: answers in turn, the last of them again and again.
            fail_times: so many answers with `fail_status` come before.
            fail_status: how to fail.
            answer: an `Answer`'s attributes, in place of a script.

        Returns:
            The path's whole URL, once the server is entered.
        """
        if script and answer:
            raise TypeError("give answers or the attributes of one, not both")
        answers = [Answer(status=fail_status)] * fail_times + list(script or [Answer(**answer)])
        with self._lock:
            self._routes[path] = answers
        return self.url + path if self._server else path

    def requests_to(self, path: str) -> list[RecordedRequest]:
        """The requests that came for `path`."""
        with self._lock:
            return [request for request in self.requests if request.path == path]

    async def wait_for_requests(self, count: int = 1, *, path: str | None = None, within_s: float = 10.0) -> None:
        """Wait until `count` requests came, in all or for `path`.

        Raises:
            TimeoutError: they did not come within `within_s` seconds.
        """
        with anyio.fail_after(within_s):
            # Requests come in threads, so there is no event of anyio's to wait for.
            while len(self.requests if path is None else self.requests_to(path)) < count:  # noqa: ASYNC110
                await anyio.sleep(0.002)

    def __enter__(self) -> Self:
        """Bind the port and answer."""
        self._closing.clear()
        self._server = _Server(self, self._port, self._tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="ScriptedHttpServer")
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: break what is still being answered, close every connection, end every thread."""
        self._closing.set()
        with self._lock:
            for hold in self._waiting:
                hold.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.disconnect_all()
            self._server.server_close()
            self._thread.join()

    # ------------------------------------------------------------------------- what the handlers ask, in their threads

    @property
    def closing(self) -> bool:
        """Whether the server is being left."""
        return self._closing.is_set()

    def answer_to(self, request: RecordedRequest) -> Answer:
        """Record a request and give the answer whose turn it is."""
        with self._lock:
            self.requests.append(request)
            script = self._routes.get(request.path, [Answer(status=404)])
            turn = script.pop(0) if len(script) > 1 else script[0]
        return turn if isinstance(turn, Answer) else turn(request)

    def wait_before(self, answer: Answer) -> bool:
        """Wait as long as the answer says; False if the server closes meanwhile."""
        if answer.delay_s:
            self._closing.wait(answer.delay_s)
        if answer.hold is not None:
            with self._lock:
                self._waiting.add(answer.hold)
            if not self._closing.is_set():
                answer.hold.wait()
        return not self._closing.is_set()


class _Server(ThreadingHTTPServer):
    """Keeps its connections, so that leaving the server ends their threads."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, scripts: ScriptedHttpServer, port: int, tls: ssl.SSLContext | None) -> None:
        self.scripts = scripts
        self.tls = tls
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 # as socketserver has them
        # Wrapping takes the socket over, so it comes before the first byte: what is kept must be what can be closed.
        connection = self.tls.wrap_socket(request, True, False) if self.tls else request
        with self._lock:
            self._connections.add(connection)
            self.scripts.connections += 1
        try:
            if self.scripts.closing:
                return
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            super().finish_request(connection, client_address)
        except OSError:
            # The other side went away, or did not trust us: that is its business.
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 # as socketserver has it
        request.close()

    def disconnect_all(self) -> None:
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] # made by it alone

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        url = urlsplit(self.path)
        request = RecordedRequest(
            method=self.command,
            path=url.path,
            query=url.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
            at=time.monotonic(),
        )
        answer = self.server.scripts.answer_to(request)
        if not self.server.scripts.wait_before(answer):
            self.close_connection = True
        elif answer.disconnect and answer.chunks is None:
            self._reset()
        else:
            self._send(answer)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        chunks: list[bytes] = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _send(self, answer: Answer) -> None:
        as_json = not answer.body and answer.chunks is None and answer.json is not None
        body = json.dumps(answer.json) if as_json else answer.body
        body = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": "application/json" if as_json else "text/plain; charset=utf-8"}
        if answer.chunks is not None:
            headers["Transfer-Encoding"] = "chunked"
        elif answer.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            headers["Content-Length"] = str(len(body))
        given = {name.lower() for name in answer.headers}
        self.send_response_only(answer.status)
        for name, value in ({n: v for n, v in headers.items() if n.lower() not in given} | {**answer.headers}).items():
            self.send_header(name, value)
        self._headers_buffer: list[bytes]
        head = b"".join([*self._headers_buffer, b"\r\n"])
        self._headers_buffer = []
        self.wfile.write(head if self.command == "HEAD" or answer.chunks else head + body)
        if answer.chunks is not None and self.command != "HEAD":
            self._send_chunks(answer, answer.chunks)

    def _send_chunks(self, answer: Answer, chunks: Callable[[], Iterable[bytes]]) -> None:
        for chunk in chunks():
            if chunk:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if answer.disconnect:
            self._reset()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """Break the connection with RST, as a crash would."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the name in http.server
        """Say nothing: `requests` has it all."""
