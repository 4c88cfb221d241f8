"""`cabochon agent run` as a process, and what it holds: memory, descriptors, sockets, threads, tasks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cabochon_opa.testing import free_port

__all__ = ["AgentProcess", "Footprint", "running_agent"]

_END_WITHIN_S = 15.0
_ESTABLISHED = "01"
_RETRY = '{"wait_strategy": "random_exponential", "wait_time": 0.1, "max_wait": 0.5, "attempts": 3}'
_IDLE = (
    "updates_under_way",
    "updates_waiting_for_retry",
    "fetches_running",
    "committer_queued",
    "reports_waiting",
)
_SAMPLE = re.compile(r"^cabochon_(\w+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the process holds at a moment: `sockets` are the established ones, `resident_mib` its memory."""

    resident_mib: float
    descriptors: int
    sockets: int
    threads: int
    tasks: int

    def is_within(self, other: Footprint) -> bool:
        """Tell whether it holds no more than that, memory apart."""
        return (
            self.descriptors <= other.descriptors
            and self.sockets <= other.sockets
            and self.threads <= other.threads
            and self.tasks <= other.tasks
        )


class AgentProcess:
    """A running agent."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Connection": "close"}, timeout=10)
        self._log = log

    def close(self) -> None:
        """End it as a service manager does; raise if it does not end in time, or not well."""
        self._api.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_END_WITHIN_S)
        finally:
            self._process.kill()
            self._process.wait()
        if code != 0:
            raise RuntimeError(f"the agent has ended with {code}:\n{self.last_lines()}")

    def metrics(self) -> dict[str, float]:
        """Its gauges and counters by name, as `GET /metrics` shows them."""
        return {
            name: float(value) for name, value in _SAMPLE.findall(self._api.get("/metrics").raise_for_status().text)
        }

    def is_idle(self) -> bool:
        """Tell whether nothing is under way in it."""
        metrics = self.metrics()
        return not any(metrics[name] for name in _IDLE)

    def footprint(self) -> Footprint:
        """Count what it holds now, without the connection that is asking."""
        tasks = self.metrics()["soak_tasks"]
        folder = Path(f"/proc/{self._process.pid}")
        links = [_target(entry) for entry in (folder / "fd").iterdir()]
        inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
        rows = [line.split() for line in (folder / "net" / "tcp").read_text("ascii").splitlines()[1:]]
        return Footprint(
            resident_mib=int((folder / "statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
            descriptors=sum(link != "" for link in links),
            sockets=sum(row[3] == _ESTABLISHED and row[9] in inodes for row in rows),
            threads=len(list((folder / "task").iterdir())),
            tasks=int(tasks),
        )

    def last_lines(self, count: int = 25) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-count:])


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        # Closed meanwhile.
        return ""


@contextmanager
def running_agent(folder: Path, server_url: str, opa_url: str) -> Generator[AgentProcess]:
    """Start an agent with the plugins that are installed, and one of our own; end it.

    It gives up sooner than it does by default, so that what takes a day fits into minutes.
    """
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")} | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_installed(folder)), os.environ.get("PYTHONPATH")])),
        "OPAL_POLICY_STORE_TYPE": "OPA",
        "OPAL_UPDATE_SOURCE": "opal",
        "OPAL_SERVER_URL": server_url,
        "OPAL_POLICY_STORE_URL": opa_url,
        "OPAL_INLINE_OPA_ENABLED": "false",
        "OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED": "true",
        "OPAL_CLIENT_API_SERVER_PORT": str(port),
        "OPAL_ENABLE_METRICS": "true",
        "OPAL_SOURCE_PING_INTERVAL": "1",
        "OPAL_FETCHING_CALLBACK_TIMEOUT": "3",
        "OPAL_HTTP_FETCHER_TIMEOUT": "1",
        "OPAL_FETCH_RETRY_MAX_WAIT": "2",
        "OPAL_DATA_UPDATER_CONN_RETRY": _RETRY,
        "OPAL_POLICY_UPDATER_CONN_RETRY": _RETRY,
    }
    command = [str(Path(sys.executable).with_name("cabochon")), "agent", "run"]
    path = folder / "agent.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    agent = AgentProcess(process, port, path)
    try:
        yield agent
    finally:
        agent.close()


def _installed(folder: Path) -> Path:
    """Make a folder that looks as if the plugin beside this module had been installed into it."""
    site = folder / "site"
    metadata = site / "soak_task_count-1.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("task_count.py"), site / "soak_task_count.py")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: soak-task-count\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[cabochon]\nsoak-task-count = soak_task_count\n", "utf-8")
    return site
