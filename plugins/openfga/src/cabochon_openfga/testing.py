"""A real OpenFGA for tests: started on free ports of this machine, broken on purpose, and gone at the end.

    with RealOpenFga(ENGINE.binary()) as openfga:
        httpx.get(f"{openfga.url}/healthz")
        openfga.restart()  # killed and empty again, at the same address

With a file for SQLite it keeps what is in it.
Everything here blocks for as long as a process takes to start; call it through `anyio.to_thread.run_sync` where an
event loop must go on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from cabochon.testing.real_engine import GoEngine, RealEngine, free_port

__all__ = ["ENGINE", "RealOpenFga"]

ENGINE = GoEngine(name="openfga", version="1.22.1", module="github.com/openfga/openfga/cmd/openfga")
"""What this plugin is tested with."""

_OK = 200


class RealOpenFga(RealEngine):
    """One `openfga run`; a context manager that starts and ends it.

    Args:
        binary: the executable.
        arguments: more of its command line; `--authn-method=preshared` for instance.
        sqlite: the database to keep everything in, made if it is not there; None keeps it in memory.
        tls: certificate and key to serve HTTPS with, as PEM files.

    Attributes:
        url: where it answers, for `OPAL_POLICY_STORE_URL`.
        arguments: as given; others count from the next start on.
    """

    def __init__(
        self,
        binary: Path,
        *arguments: str,
        sqlite: Path | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        super().__init__("OpenFGA")
        self._binary = binary
        self.arguments = arguments
        self._sqlite = sqlite
        self._tls = tls
        self._http, self._grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.url = f"{'https' if tls else 'http'}://{self._http}"

    def start(self, *, wait: bool = True) -> None:
        """Start it, after its database is made; with `wait`, return when it answers."""
        if self._sqlite is not None and not self._sqlite.exists():
            subprocess.run(  # noqa: S603 - the caller's own executable, as meant
                [str(self._binary), "migrate", *self._datastore()],
                env=self.environment(),
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        super().start(wait=wait)

    def command(self) -> Sequence[str]:
        """Return `openfga run` with its options; what would be served on all interfaces is off."""
        options = [
            f"--http-addr={self._http}",
            f"--grpc-addr={self._grpc}",
            "--metrics-enabled=false",
            "--playground-enabled=false",
            "--log-level=error",
        ]
        if self._tls is not None:
            certificate, key = self._tls
            options += ["--http-tls-enabled", f"--http-tls-cert={certificate}", f"--http-tls-key={key}"]
        return [str(self._binary), "run", *options, *self._datastore(), *self.arguments]

    def environment(self) -> Mapping[str, str]:
        """Return this process's environment, without what OpenFGA would take for options."""
        return {name: value for name, value in os.environ.items() if not name.startswith("OPENFGA_")}

    def is_up(self) -> bool:
        """Tell whether it serves."""
        try:
            # Nothing is sent, so its certificate does not matter.
            with httpx.Client(verify=False, timeout=1.0, trust_env=False) as client:  # noqa: S501
                return client.get(f"{self.url}/healthz").status_code == _OK
        except httpx.TransportError:
            return False

    def _datastore(self) -> list[str]:
        if self._sqlite is None:
            return ["--datastore-engine=memory"]
        return ["--datastore-engine=sqlite", f"--datastore-uri=file:{self._sqlite}"]
