"""A real Redis on 127.0.0.1, in a folder of its own, that can be stopped, started and killed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from cabochon.testing.real_engine import free_port

__all__ = ["RedisServer", "program"]

_STARTS_S = 30.0


def program() -> str:
    """Find redis-server; skip the test where there is none, but not in CI."""
    found = shutil.which("redis-server")
    if found is None:
        import pytest  # noqa: PLC0415 - RedisServer is of use without it

        why = "no redis-server on PATH: install Debian's package redis-server, or your system's"
        if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
            pytest.fail(why)
        pytest.skip(why)
    return found


class RedisServer:
    """A Redis that writes each change to disk before it answers."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", *self._options]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        ends = time.monotonic() + _STARTS_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < ends, "Redis does not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
