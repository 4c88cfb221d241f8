"""The two clients that are compared, each as a process beside an OPA and a flooding source of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from opa_raw import RawOpa, cpu_seconds

from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.testing import RealOpa, free_port, opa_binary

ROOT = Path(__file__).resolve().parent.parent
_END_WITHIN_S = 15.0
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A client and how it is run.

    Attributes:
        name: what the table calls it.
        command: what runs it.
        delivery: how policies go into OPA, `rest` or `bundle`.
        settings: more of its environment.
        is_peer: it is OPAL's, which gets fewer updates and isn't held to our promises.
    """

    name: str
    command: tuple[str, ...]
    delivery: str = "rest"
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    is_peer: bool = False


def peer(command: str | None) -> Contestant:
    """OPAL's client: the one named, else the one of the environment that the interop tests make and keep.

    Raises:
        SystemExit: there is none, and it can't be had.
    """
    if command is None:
        sys.path.append(str(ROOT))
        from tests.interop.peer_environment import NoPeerError, peer_python  # noqa: PLC0415 - needs the line above

        try:
            command = str(peer_python().with_name("opal-client"))
        except NoPeerError as err:
            raise SystemExit(f"no opal-client: {err}; --peer names one, --only ours does without") from err
    return Contestant(name="opal-client", command=(command, "run"), is_peer=True)


def ours(delivery: str, settings: Mapping[str, str]) -> Contestant:
    """The agent of this checkout."""
    command = (str(Path(sys.executable).with_name("cabochon")), "agent", "run")
    return Contestant(name="cabochon", command=command, delivery=delivery, settings=settings)


def process_tree(pid: int) -> list[int]:
    """A process and all below it, without those that have just ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(child) for child in children.read_text("ascii").split()]
    except FileNotFoundError:
        return []
    return [pid, *(one for child in below for one in process_tree(child))]


def resident_mib(pid: int) -> float:
    """Resident memory of a process and all below it."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text("ascii").split()[1]) for one in process_tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Running:
    """A client that was started a moment ago, with all that it needs.

    Attributes:
        opa: asks the OPA of this client.
        source: steers the flooding source.
        started: when the client's process was started, by `time.monotonic()`.
    """

    def __init__(self, process: subprocess.Popen[bytes], opa_pid: int, urls: Mapping[str, str], log: Path) -> None:
        self.started = time.monotonic()
        self.opa = RawOpa(urls["opa"])
        self.source = RawOpa(urls["source"])
        self._process = process
        self._opa_pid = opa_pid
        self._urls = urls
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.opa.__exit__()
        self.source.__exit__()

    def steer(self, path: str) -> dict[str, Any]:
        """Have the flooding source do something; what it says of it."""
        status, said = self.source.ask("POST", path)
        if status != 200:
            raise SystemExit(f"the flooding source answers {path} with {status}")
        return json.loads(said)

    def cpu_s(self) -> tuple[float, float]:
        """Seconds of processor time so far: the client's, OPA's."""
        return sum(cpu_seconds(one) for one in process_tree(self._process.pid)), cpu_seconds(self._opa_pid)

    def resident_mib(self) -> float:
        """The client's."""
        return resident_mib(self._process.pid)

    def says_ready(self) -> bool:
        """Ask the client's own `GET /ready`."""
        try:
            with RawOpa(self._urls["api"]) as api:
                return api.ask("GET", "/ready")[0] == 200
        except OSError:
            return False

    def until(self, condition: Callable[[], bool], within_s: float, every_s: float = _LOOK_EVERY_S) -> float | None:
        """Look until it is so; when it was, by `time.monotonic()`, or None if it took too long."""
        deadline = time.monotonic() + within_s
        while not condition():
            if self._process.poll() is not None:
                raise SystemExit(f"the client has ended with {self._process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                return None
            time.sleep(every_s)
        return time.monotonic()

    def last_lines(self, count: int = 15) -> str:
        """The end of the client's log."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-count:])


@contextmanager
def running(contestant: Contestant, module_count: int) -> Generator[Running]:
    """Start a contestant with a fresh OPA and a flooding source that has so many modules; end all of it."""
    source_port, api_port, bundle_port = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-vs-opal-")))
        arguments: list[str] = []
        if contestant.delivery == "bundle":
            config = folder / "opa.json"
            config.write_text(json.dumps(bundle_config(f"127.0.0.1:{bundle_port}")), "utf-8")
            arguments = [f"--config-file={config}"]
        opa = stack.enter_context(RealOpa(opa_binary(), *arguments))
        source = [sys.executable, str(ROOT / "benchmarks" / "flooding_source.py")]
        stack.enter_context(_process([*source, f"--port={source_port}", f"--modules={module_count}"], folder, "source"))
        urls = {"opa": opa.url, "source": f"http://127.0.0.1:{source_port}", "api": f"http://127.0.0.1:{api_port}"}
        _wait_for(urls["source"])
        environ = {
            "OPAL_SERVER_URL": urls["source"],
            "OPAL_POLICY_STORE_URL": urls["opa"],
            "OPAL_INLINE_OPA_ENABLED": "false",
            "OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED": "true",
            "OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "false",
            "OPAL_CLIENT_API_SERVER_PORT": str(api_port),
            **contestant.settings,
        }
        if not contestant.is_peer:
            environ |= {
                "OPAL_OPA_POLICY_DELIVERY": contestant.delivery,
                "OPAL_OPA_BUNDLE_SERVICE_ADDR": f"127.0.0.1:{bundle_port}",
            }
        client = stack.enter_context(_process(contestant.command, folder, "client", environ))
        yield stack.enter_context(Running(client, opa.pid, urls, folder / "client.log"))


@contextmanager
def _process(
    command: list[str] | tuple[str, ...], folder: Path, name: str, environ: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program in `folder`, its output in a file there; SIGTERM at the end, and no `OPAL_` but those given."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPAL_")}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**inherited, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _END_WITHIN_S
    while time.monotonic() < deadline:
        try:
            with RawOpa(url) as server:
                server.ask("GET", "/healthcheck")
        except OSError:
            time.sleep(_LOOK_EVERY_S)
        else:
            return
    raise SystemExit(f"nothing answers at {url}")
