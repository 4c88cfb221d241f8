"""`cabochon server run` as a process, on one port and one log over any number of lives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import anyio
import httpx

from cabochon.testing.http_server import ScriptedHttpServer

__all__ = ["PATIENCE_S", "ServerProcess"]

PATIENCE_S = 60.0


class ServerProcess:
    """A server that is killed and started again; a context manager that kills it at the end.

    Attributes:
        url: where it is, in each life.
        lives: how often it was started.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        with ScriptedHttpServer() as free:
            self.port = free.port
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OPAL_")},
            "OPAL_SERVER_HOST": "127.0.0.1",
            "OPAL_SERVER_BIND_PORT": str(self.port),
            "OPAL_BASE_DIR": str(folder),
            "OPAL_UPDATE_LOG_PATH": str(folder / "log.db"),
            "OPAL_DATA_CONFIG_SOURCES": '{"config": {"entries": []}}',
            **(environ or {}),
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.lives = 0
        self._log = folder / f"server-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return itself, not started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()

    def kill(self) -> None:
        """Kill it with -9, in the midst of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "cabochon", "server", "run"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - ended by `kill`, whatever becomes of the loop
                command, env=self._environ, stdout=log, stderr=subprocess.STDOUT
            )
        self.lives += 1
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            with anyio.fail_after(PATIENCE_S):
                while True:
                    assert self._process.poll() is None, self._log.read_text("utf-8")[-2000:]
                    with suppress(httpx.TransportError):
                        if (await http.get("/healthcheck")).is_success:
                            return
                    await anyio.sleep(0.05)
