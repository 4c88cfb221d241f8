"""Plain connections, for what no client library does."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..authority.programs import Program  # noqa: TID252 - the programs of all hostile tests

__all__ = ["connected", "cut_within", "resident", "sent", "upgraded"]


@contextmanager
def connected(program: Program) -> Generator[socket.socket]:
    """Connect, and do nothing."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=20) as connection:
        yield connection


@contextmanager
def upgraded(program: Program) -> Generator[socket.socket]:
    """Connect to /ws."""
    with connected(program) as connection:
        head = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{program.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        yield connection


def sent(connection: socket.socket, data: bytes, times: int, *, within_s: float = 20.0) -> int:
    """Send the same again and again, as long as it is taken; say how often it was."""
    connection.settimeout(1.0)
    end = time.monotonic() + within_s
    for number in range(times):
        try:
            connection.sendall(data)
        except OSError:
            return number
        if time.monotonic() > end:
            return number
    return times


def cut_within(connection: socket.socket, seconds: float, *, meanwhile: bytes = b"") -> bytes | None:
    """Wait until the server ends the connection, sending a little meanwhile; return its answer, None if it does not."""
    end = time.monotonic() + seconds
    answer = b""
    connection.settimeout(0.5)
    while time.monotonic() < end:
        try:
            if meanwhile:
                connection.sendall(meanwhile)
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return answer
        if not piece:
            return answer
        answer += piece
    return None


def resident(program: Program) -> int:
    """Say how many bytes of memory it had at most since it was asked last."""
    status = Path(f"/proc/{program.pid}/status").read_text("utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    with contextlib.suppress(OSError), open(f"/proc/{program.pid}/clear_refs", "wb", opener=_opener) as refs:
        refs.write(b"5")
    return int(line.split()[1]) * 1024


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_CREAT)
