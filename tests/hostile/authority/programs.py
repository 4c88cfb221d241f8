"""`cabochon server run` and `cabochon agent run` as processes, each on a port of its own, ended with the block."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from cabochon.testing.real_engine import free_port

__all__ = ["PATIENCE_S", "Program", "agent", "limited_server", "ran", "server"]

PATIENCE_S = 60.0


class Program(NamedTuple):
    """A process that answers."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def ended(self, *, within_s: float) -> int:
        """Ask it to end, and return its code."""
        self.process.terminate()
        return self.process.wait(within_s)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def lines(self, event: str) -> list[str]:
        """Return what it logged under this name."""
        return [line for line in self.log.read_text("utf-8").splitlines() if event in line]


@contextmanager
def server(folder: Path, **environ: str) -> Generator[Program]:
    """Run a server."""
    with limited_server(folder, None, **environ) as program:
        yield program


@contextmanager
def limited_server(folder: Path, descriptors: int | None, **environ: str) -> Generator[Program]:
    """Run a server that may have so many descriptors."""
    port = free_port()
    mine = {
        "OPAL_SERVER_BIND_PORT": str(port),
        "OPAL_BASE_DIR": str(folder),
        "OPAL_UPDATE_LOG_PATH": str(folder / "log.db"),
        "OPAL_DATA_CONFIG_SOURCES": '{"config": {"entries": []}}',
    }
    with _running(folder, "server", port, mine | environ, descriptors) as program:
        yield program


@contextmanager
def agent(folder: Path, of: Program, store_url: str, **environ: str) -> Generator[Program]:
    """Run an agent of a server and an OPA."""
    port = free_port()
    mine = {
        "OPAL_CLIENT_API_SERVER_PORT": str(port),
        "OPAL_SERVER_URL": of.url,
        "OPAL_POLICY_STORE_TYPE": "OPA",
        "OPAL_POLICY_STORE_URL": store_url,
        "OPAL_INLINE_OPA_ENABLED": "false",
        "OPAL_POLICY_UPDATER_ENABLED": "false",
    }
    with _running(folder, "agent", port, mine | environ) as program:
        yield program


def ran(folder: Path, command: str, **environ: str) -> tuple[int, str]:
    """Run a command that is to end by itself; return its code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "cabochon", command, "run"],
        env=_environ(environ),
        cwd=folder,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def _environ(mine: dict[str, str]) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}, **mine}


@contextmanager
def _running(
    folder: Path, command: str, port: int, environ: dict[str, str], descriptors: int | None = None
) -> Generator[Program]:
    limited = [] if descriptors is None else ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "limited"]
    path = folder / f"{command}-{port}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            [*limited, sys.executable, "-m", "cabochon", command, "run"],
            env=_environ(environ),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    program = Program(port, path, process)
    try:
        _wait(program, process)
        yield program
    finally:
        process.kill()
        process.wait()


def _wait(program: Program, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    with httpx.Client(trust_env=False) as http:
        while True:
            assert process.poll() is None, program.log.read_text("utf-8")[-2000:]
            assert time.monotonic() < end, program.log.read_text("utf-8")[-2000:]
            try:
                http.get(f"{program.url}/healthcheck")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
