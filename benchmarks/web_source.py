"""A web server for the benchmarks that is no bottleneck: small JSON documents over connections that stay open.

    python benchmarks/web_source.py

It prints the port it listens on, on 127.0.0.1, and answers until it is ended. `/documents/7` is `{"v":7,...}`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: documents\r\nDate: Tue, 24 Nov 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class _Connection(asyncio.Protocol):
    """Answers every request, whatever its headers say; requests have no body."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        if self._transport is not None:
            self._transport.write(b"".join(map(_answer, requests)))


def _answer(request: bytes) -> bytes:
    number = request.split(b" ", 2)[1].rpartition(b"/")[2]
    body = b'{"v":%b,"roles":["a","b"]}' % number
    return _HEAD % len(body) + body


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def web_source() -> Generator[tuple[str, int]]:
    """Run the server in a process of its own: its documents' URL, without the number, and its process id."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/documents/", process.pid
        finally:
            process.terminate()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except KeyboardInterrupt:
        sys.exit(0)
