"""A real OPA for tests: started on a free port of this machine, broken on purpose, and gone at the end.

    with RealOpa(opa_binary()) as opa:
        httpx.get(f"{opa.url}/health")
        opa.restart()  # killed and empty again, at the same address

Everything here blocks for as long as a process takes to start; call it through `anyio.to_thread.run_sync` where an
event loop must go on.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import httpx

from cabochon.testing.real_engine import GoEngine, NoEngineError, RealEngine, free_port

__all__ = ["ENGINE", "NoEngineError", "RealOpa", "free_port", "opa_binary", "opa_or_skip"]

ENGINE = GoEngine(name="opa", version="1.22.2", module="github.com/open-policy-agent/opa")
"""What this plugin is tested with."""


def opa_binary() -> Path:
    """Find OPA: where `make engines` puts it, else on PATH.

    Raises:
        NoEngineError: it is in neither place.
    """
    return ENGINE.binary()


def opa_or_skip() -> Path:
    """Find OPA as `opa_binary` does, for a pytest fixture: without one its tests skip, and fail where `CI` is set."""
    return ENGINE.or_skip()


def _listens(address: str) -> bool:
    """Tell whether somebody listens; httpx would leave its own end of a socket open where nobody does."""
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(address.removeprefix("unix://")) == 0
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) == 0


class RealOpa(RealEngine):
    """One `opa run --server`; a context manager that starts and ends it. A restart leaves it empty.

    Args:
        binary: the executable.
        arguments: more of its command line; `--v0-compatible` for instance.
        address: what it listens at; a free port of 127.0.0.1 by default, `unix:///path` for a socket.

    Attributes:
        url: where it answers, for `OPAL_POLICY_STORE_URL`.
    """

    def __init__(self, binary: Path, *arguments: str, address: str | None = None) -> None:
        super().__init__("OPA")
        self._binary = binary
        self._arguments: Sequence[str] = arguments
        self._address = address or f"127.0.0.1:{free_port()}"
        self.url = self._address if self._address.startswith("unix:") else f"http://{self._address}"

    def command(self) -> Sequence[str]:
        """Return `opa run --server` with its options."""
        options = ["--log-level=error", "--disable-telemetry", f"--addr={self._address}", *self._arguments]
        return [str(self._binary), "run", "--server", *options]

    def is_up(self) -> bool:
        """Tell whether it answers at all, whatever its policy says to that."""
        if not _listens(self._address):
            return False
        socket_path = self._address.removeprefix("unix://") if self._address.startswith("unix:") else None
        base = "http://opa" if socket_path else self.url
        # Nothing is encrypted: to read whom the system trusts takes longer than OPA needs to start.
        trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket_path, verify=trusts_nobody), timeout=1.0) as client:
            try:
                client.get(f"{base}/health")
            except httpx.TransportError:
                return False
        return True
