"""A real PostgreSQL on 127.0.0.1, in a folder of its own, that can be stopped, started and killed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import psycopg

from cabochon.testing.real_engine import free_port

__all__ = ["PostgresServer", "programs"]

_STARTS_S = 60.0


def _missing(why: str) -> None:
    import pytest  # noqa: PLC0415 - PostgresServer is of use without it

    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        pytest.fail(why)
    pytest.skip(why)


def programs() -> Path:
    """Find the folder of initdb and postgres; skip the test where there is none, but not in CI."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        _missing("no initdb on PATH: install Debian's package postgresql, or your system's")
    return found[-1]


def _user() -> dict[str, Any]:
    """PostgreSQL does not run as root: for root, the user that its package made."""
    if os.geteuid() != 0:
        return {}
    try:
        known = pwd.getpwnam("postgres")
    except KeyError:
        _missing("PostgreSQL does not run as root, and there is no user postgres")
        raise
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


class PostgresServer:
    """A PostgreSQL with its own defaults: a commit is on disk before it is acknowledged."""

    def __init__(self, *, method: str = "trust") -> None:
        self._programs = programs()
        self._as = _user()
        self._home = Path(tempfile.mkdtemp(prefix="cabochon-postgres-"))
        if self._as:
            os.chown(self._home, self._as["user"], self._as["group"])
        password = self._home / "password"
        password.write_text("open-sesame\n")
        password.chmod(0o644)
        command = [self._programs / "initdb", "-D", self._home / "data", "-U", "cabochon", "-E", "UTF8", "--no-sync"]
        command += ["--locale=C", "-A", method, f"--pwfile={password}"]
        subprocess.run(command, check=True, capture_output=True, cwd=self._home, **self._as)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"postgres://cabochon@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._programs / "postgres", "-D", self._home / "data", "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._home}"]
        with (self._home / "log").open("ab") as log:
            process = cast(
                "subprocess.Popen[bytes]",
                subprocess.Popen(command, stdout=log, stderr=log, cwd=self._home, **self._as),
            )
        self._process = process
        ends = time.monotonic() + _STARTS_S
        while not self._answers():
            assert process.poll() is None, (self._home / "log").read_text()
            assert time.monotonic() < ends, "PostgreSQL does not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, password="open-sesame", connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def execute(self, statement: str) -> None:
        """Do something behind the servers' backs."""
        with psycopg.connect(self.url, password="open-sesame", autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> None:
        """Stop it without a shutdown, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        self.stop()
        shutil.rmtree(self._home)
