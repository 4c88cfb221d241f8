"""The server beside OPAL's own: the same load, on the same machine, in one run.

    .venv/bin/python benchmarks/server_vs_opal.py [--only ours|peer] [--subscribers N ...] [--updates N] [--json FILE]

Each line is one run against a server of its own. benchmarks/README.md says what the columns mean. The exit code is 1 if
a subscriber was not told of an update, or twice.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contestants import process_tree, resident_mib
from opa_raw import cpu_seconds

from cabochon_opa.testing import free_port

ROOT = Path(__file__).resolve().parent.parent
_UP_WITHIN_S = 60.0
_PEER_UPDATES = 500
_DELIVERIES = 200_000


def say(line: str) -> None:
    """Tell how far it is, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def peer_command(given: str | None) -> list[str]:
    """OPAL's server: the one named, else the one of the environment that the interop tests make and keep."""
    if given is not None:
        return [given, "run"]
    sys.path.append(str(ROOT))
    from tests.interop.peer_environment import NoPeerError, peer_python  # noqa: PLC0415 - needs the line above

    try:
        return [str(peer_python().with_name("opal-server")), "run"]
    except NoPeerError as err:
        raise SystemExit(f"no opal-server: {err}; --peer names one, --only ours does without") from err


@contextmanager
def running(command: list[str], broadcast: str | None) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server until the block ends; gives its process and its port."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "UVICORN_"))}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **kept,
            "OPAL_SERVER_PORT": str(port),
            "OPAL_SERVER_BIND_PORT": str(port),
            "OPAL_SERVER_WORKER_COUNT": "1",
            "OPAL_BASE_DIR": folder,
            "OPAL_REPO_WATCHER_ENABLED": "false",
            "OPAL_LEADER_LOCK_FILE_PATH": f"{folder}/leader.lock",
            "OPAL_AUTH_JWKS_STATIC_DIR": f"{folder}/jwks",
            **({"OPAL_BROADCAST_URI": broadcast} if broadcast else {}),
        }
        with Path(folder, "server.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _UP_WITHIN_S
            while not _up(port):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit(f"it does not start:\n{Path(folder, 'server.log').read_text()[-2_000:]}")
                time.sleep(0.05)
            yield process, port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def run(name: str, command: list[str], subscribers: int, publishers: int, updates: int, broadcast: str | None) -> Any:  # noqa: ANN401 - a line of the table
    """Load one server, and say what was seen."""
    with running(command, broadcast) as (process, port):
        arguments = [str(number) for number in (port, subscribers, publishers, updates)]
        load = [sys.executable, str(Path(__file__).with_name("subscribers.py")), *arguments]
        with subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loading:
            assert loading.stdin is not None
            assert loading.stdout is not None
            if not loading.stdout.readline():
                raise SystemExit(f"{name}: the subscribers could not connect")
            idle_mib = resident_mib(process.pid)
            cpu = sum(cpu_seconds(pid) for pid in process_tree(process.pid))
            loading.stdin.write("\n")
            loading.stdin.flush()
            seen = json.loads(loading.stdout.readline())
            cpu = sum(cpu_seconds(pid) for pid in process_tree(process.pid)) - cpu
            end_mib = resident_mib(process.pid)
    line = {
        "server": name,
        "subscribers": subscribers,
        "updates": updates,
        **seen,
        "cpu_s": round(cpu, 2),
        "idle_mib": round(idle_mib),
        "end_mib": round(end_mib),
        "load": round(os.getloadavg()[0], 1),
    }
    say(f"{line}")
    return line


def table(lines: list[dict[str, Any]]) -> str:
    """Write the lines below each other."""
    names = list(lines[0])
    widths = [max(len(name), *(len(str(line[name])) for line in lines)) for name in names]
    rows = [names, *([str(line[name]) for name in names] for line in lines)]
    return "\n".join("  ".join(value.rjust(width) for value, width in zip(row, widths, strict=True)) for row in rows)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("ours", "peer"), help="leave the other out")
    parser.add_argument("--subscribers", type=int, nargs="+", default=[1, 100, 500])
    parser.add_argument("--publishers", type=int, default=32, help="connections that publish, each one after the other")
    parser.add_argument("--updates", type=int, default=20_000, help="at most; fewer where there are many subscribers")
    parser.add_argument("--broadcast", help="OPAL_BROADCAST_URI for ours")
    parser.add_argument("--peer", help="OPAL's server; by default one is installed once, outside the checkout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured there")
    given = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for subscribers in given.subscribers:
        updates = max(20, min(given.updates, _DELIVERIES // subscribers))
        if given.only != "peer":
            command = [str(Path(sys.executable).with_name("cabochon")), "server", "run"]
            lines.append(run("cabochon", command, subscribers, given.publishers, updates, given.broadcast))
        if given.only != "ours":
            few = max(20, min(_PEER_UPDATES, updates // 10))
            lines.append(run("opal-server", peer_command(given.peer), subscribers, given.publishers, few, None))
    print(table(lines))
    if given.json:
        given.json.write_text(json.dumps(lines, indent=2))
    return 1 if any(line["missing"] or line["twice"] for line in lines if line["server"] == "cabochon") else 0


if __name__ == "__main__":
    sys.exit(main())
