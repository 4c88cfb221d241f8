"""A real OPA for tests: started on a free port of this machine, broken on purpose, and gone at the end.

    with RealOpa(opa_binary()) as opa:
        httpx.get(f"{opa.url}/health")
        opa.restart()  # killed and empty again, at the same address

Everything here blocks for as long as a process takes to start; call it through `anyio.to_thread.run_sync` where an
event loop must go on.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

__all__ = ["OPA_VERSION", "NoOpaError", "RealOpa", "free_port", "kept_opa", "opa_binary", "opa_or_skip"]

OPA_VERSION = "1.22.2"
"""What this plugin is tested with."""

_PATIENCE_S = 20.0
_LOOK_EVERY_S = 0.01


class NoOpaError(Exception):
    """There is no OPA on this machine; the message says where it was looked for."""


def kept_opa() -> Path:
    """Return where `make engines` puts OPA, whether it is there or not: outside the checkout, one for each version."""
    own = os.environ.get("CABOCHON_CACHE")
    cache = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cabochon"
    return cache / f"opa-{OPA_VERSION}" / "opa"


def opa_binary() -> Path:
    """Find OPA: where `make engines` puts it, else on PATH.

    Raises:
        NoOpaError: it is in neither place.
    """
    kept = kept_opa()
    if kept.is_file():
        return kept
    found = shutil.which("opa")
    if found is None:
        raise NoOpaError(f"no opa on PATH and none at {kept}; `make engines` builds one where Go is installed")
    return Path(found)


def opa_or_skip() -> Path:
    """Find OPA as `opa_binary` does, for a pytest fixture: without one its tests skip, and fail where `CI` is set."""
    import pytest  # noqa: PLC0415 # RealOpa is of use without it

    try:
        return opa_binary()
    except NoOpaError as err:
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(str(err))
        pytest.fail(str(err))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(socket_path: str) -> bool:
    """Tell whether somebody listens at a socket; httpx would leave its own end open where nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(socket_path) == 0


class RealOpa:
    """One `opa run --server`; a context manager that starts and ends it.

    Args:
        binary: the executable.
        arguments: more of its command line; `--v0-compatible` for instance.
        address: what it listens at; a free port of 127.0.0.1 by default, `unix:///path` for a socket.

    Attributes:
        url: where it answers, for `OPAL_POLICY_STORE_URL`.
        starts: how often it was started.
    """

    def __init__(self, binary: Path, *arguments: str, address: str | None = None) -> None:
        self._binary = binary
        self._arguments: Sequence[str] = arguments
        self._address = address or f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._address if self._address.startswith("unix:") else f"http://{self._address}"
        self.starts = 0

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
            raise RuntimeError("OPA does not run")
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, empty; with `wait`, return when it answers."""
        options = ["--log-level=error", "--disable-telemetry", f"--addr={self._address}", *self._arguments]
        self._process = subprocess.Popen(  # noqa: S603 - the caller's own executable, as meant
            [str(self._binary), "run", "--server", *options],
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
        socket_path = self._address.removeprefix("unix://") if self._address.startswith("unix:") else None
        base = "http://opa" if socket_path else self.url
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket_path), timeout=1.0) as client:
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    raise RuntimeError("OPA ended while it was starting")
                if socket_path is not None and not _listens(socket_path):
                    time.sleep(_LOOK_EVERY_S)
                    continue
                try:
                    client.get(f"{base}/health")
                except httpx.TransportError:
                    time.sleep(_LOOK_EVERY_S)
                else:
                    return
        raise TimeoutError(f"OPA does not answer at {self.url}")

    def kill(self) -> None:
        """End it at once, as `kill -9` does; nothing to do if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, *, wait: bool = True) -> None:
        """Kill it and start it again, empty, at the same address."""
        self.kill()
        self.start(wait=wait)

    def hang(self) -> None:
        """Stop it in its tracks: it takes connections, and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after `hang`."""
        os.kill(self.pid, signal.SIGCONT)
