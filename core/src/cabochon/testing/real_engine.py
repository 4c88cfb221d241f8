"""Real engines for tests: found, or built once; started on a free port of this machine, broken on purpose.

A plugin whose engine is a Go program declares it as `ENGINE` in its module `testing`, and `make engines` builds it:

    ENGINE = GoEngine(name="acme", version="1.2.3", module="example.com/acme/cmd/acme")

Everything here blocks for as long as a process takes to start; call it through `anyio.to_thread.run_sync` where an
event loop must go on.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["GoEngine", "NoEngineError", "RealEngine", "free_port"]

_PATIENCE_S = 20.0
_LOOK_EVERY_S = 0.01
# Below those that a system gives to outgoing connections: one of them could take the port while its engine is down.
_PORTS = range(20_000, 32_768)
_BLOCK = 400


class NoEngineError(Exception):
    """The engine is not on this machine; the message says where it was looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoEngine:
    """An engine that `go install` makes.

    Attributes:
        name: its executable.
        version: what the plugin is tested with, without the v.
        module: the path of its command in Go's terms.
    """

    name: str
    version: str
    module: str

    @property
    def kept(self) -> Path:
        """Where `make engines` puts it, whether it is there or not: outside the checkout, one for each version."""
        own = os.environ.get("CABOCHON_CACHE")
        cache = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cabochon"
        return cache / f"{self.name}-{self.version}" / self.name

    def binary(self) -> Path:
        """Find it: where `make engines` puts it, else on PATH.

        Raises:
            NoEngineError: it is in neither place.
        """
        kept = self.kept
        if kept.is_file():
            return kept
        found = shutil.which(self.name)
        if found is None:
            raise NoEngineError(
                f"no {self.name} on PATH and none at {kept}; `make engines` builds one where Go is installed"
            )
        return Path(found)

    def or_skip(self) -> Path:
        """Find it, for a pytest fixture: without it tests skip, and fail where `CI` is set."""
        import pytest  # noqa: PLC0415 # the rest is of use without it

        try:
            return self.binary()
        except NoEngineError as err:
            if os.environ.get("CI", "").lower() in {"", "0", "false"}:
                pytest.skip(str(err))
            pytest.fail(str(err))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens at, and that no other process gets from here."""
    while True:
        port = next(_ports())
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@cache
def _ports() -> Iterator[int]:
    """Take a block of ports for this process; one after the other, so that none comes again soon.

    Between this and the engine's start a port looks free: processes that choose from the same ones would meet there.
    """
    starts = range(_PORTS.start, _PORTS.stop - _BLOCK, _BLOCK)
    # Not by `random`, which tests seed alike.
    turn = secrets.randbelow(len(starts))
    for start in (*starts[turn:], *starts[:turn]):
        with socket.socket() as claim, suppress(OSError):
            claim.bind(("127.0.0.1", start))
            # Open until the process ends, and with it the claim on the others of its block.
            claim.detach()
            return cycle(range(start + 1, start + _BLOCK))
    return cycle(_PORTS)


class RealEngine(ABC):
    """One process of an engine; a context manager that starts and ends it.

    Attributes:
        name: of the engine, for messages.
        starts: how often it was started.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return its command line."""

    @abstractmethod
    def is_up(self) -> bool:
        """Tell whether it answers."""

    def environment(self) -> Mapping[str, str] | None:
        """Return its environment; None for that of this process."""
        return None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process's id; `RuntimeError` if it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, return when it answers."""
        self._process = subprocess.Popen(  # noqa: S603 - the caller's own executable, as meant
            self.command(),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.starts += 1
        if wait:
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """Return once it answers; `RuntimeError` if it ended, `TimeoutError` if it takes too long."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.is_up():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended while it was starting")
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{self.name} does not answer")
            time.sleep(_LOOK_EVERY_S)

    def kill(self) -> None:
        """End it at once, as `kill -9` does; nothing to do if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, *, wait: bool = True) -> None:
        """Kill it and start it again, at the same address."""
        self.kill()
        self.start(wait=wait)

    def hang(self) -> None:
        """Stop it in its tracks: it takes connections, and never answers; return when it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Let it go on after `hang`."""
        os.kill(self.pid, signal.SIGCONT)
