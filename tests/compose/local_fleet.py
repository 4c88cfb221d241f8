"""The services of compose.yaml as processes of this machine: their own commands, environments and healthchecks.

What is another here than in containers: each port is a free one of 127.0.0.1, hosts are named by that address, and what
is mounted is a folder of the test's. All else is as the file says it, and services start in the order that it says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cabochon_opa.testing import free_port, opa_or_skip
from cabochon_redis_backbone.testing import program

from .compose_file import EXAMPLE, ComposeFile, Service
from .programs import program_or_skip

__all__ = ["PATIENCE_S", "LocalFleet"]

PATIENCE_S = 90.0
_LOOK_EVERY_S = 0.2
_SELF = "localhost|127\\.0\\.0\\.1|0\\.0\\.0\\.0"


class LocalFleet:
    """Every service of the file; a context manager that starts them, and stops them as `docker compose down` would.

    Attributes:
        compose: the file.
        folder: where the mounts and logs are.
    """

    def __init__(self, folder: Path) -> None:
        self.compose = ComposeFile.read()
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[tuple[str, str], int] = {}
        self._hosts = re.compile(rf"(?<![\w.-])(?P<host>{'|'.join(self.compose.services)}|{_SELF}):(?P<port>\d+)\b")
        self._programs = {"/opa": str(opa_or_skip()), "redis-server": program()}
        self._programs["redis-cli"] = program_or_skip("redis-cli")

    def __enter__(self) -> Self:
        """Start each service once what it depends on is as far as it says."""
        self._find_ports()
        self._lay_out_mounts()
        binaries = self.folder / "bin"
        binaries.mkdir()
        (binaries / "opa").symlink_to(self._programs["/opa"])
        try:
            for name in self.compose.in_order():
                for other, dependency in self.compose.services[name].depends_on.items():
                    self._wait_for(other, dependency.condition)
                self.start(name)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop them, dependants first; one that does not end in its time of grace is killed, which is a failure."""
        try:
            for name in reversed(self.compose.in_order()):
                self.stop(name)
        finally:
            self.kill()

    # ------------------------------------------------------------------------------------------------------ outside

    def url(self, service: str, port: int) -> str:
        """Where a port of a service is."""
        return f"http://127.0.0.1:{self._ports[service, str(port)]}"

    def from_outside(self, text: str) -> str:
        """Say the same with local ports, where it names published ones."""
        for name, service in self.compose.services.items():
            for port in service.published:
                text = text.replace(f"http://{port.host}:{port.published}", self.url(name, port.target))
        return text

    def start(self, name: str) -> None:
        """Start a service."""
        with self.log_file(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._local_command(name, self.compose.services[name].whole_command),
                env=self.environment(name),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, name: str) -> None:
        """End a service as a container is ended; ours end in good order."""
        process, service = self._processes.get(name), self.compose.services[name]
        if process is not None:
            process.terminate()
            status = process.wait(service.grace_s)
            assert service.command[0] != "cabochon" or status == 0, f"{name} has ended with {status}: {self.log(name)}"

    def kill(self) -> None:
        """End whatever still runs."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def wait_until_healthy(self, name: str) -> None:
        """Wait until a service's own healthcheck says so."""
        self._wait_for(name, "service_healthy")

    def is_healthy(self, name: str) -> bool:
        """Run a service's healthcheck."""
        check = self.compose.services[name].healthcheck
        assert check is not None
        command = self._local_command(name, check.command)
        done = subprocess.run(command, env=self.environment(name), capture_output=True, timeout=30, check=False)
        return 0 == done.returncode

    def run_again(self, name: str) -> None:
        """Run a service that ends by itself once more."""
        self.start(name)
        self._wait_for(name, "service_completed_successfully")

    def log_file(self, name: str) -> Path:
        """Where a service's output goes."""
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        """What a service has written."""
        return self.log_file(name).read_text("utf-8")

    def environment(self, name: str) -> dict[str, str]:
        """A service's own variables, and what a process of this machine needs beside them."""
        path = [str(Path(sys.executable).parent), str(self.folder / "bin"), os.environ["PATH"]]
        own = {key: self._local(name, text) for key, text in self.compose.services[name].environment.items()}
        return {"PATH": os.pathsep.join(path), "HOME": str(self.folder / "nowhere"), **own}

    def mounted(self, name: str, target: str) -> Path:
        """The local folder or file of a mount."""
        (mount,) = (mount for mount in self.compose.services[name].mounts if mount.target == target)
        kind = "volumes" if mount.is_named else "example"
        return self.folder / kind / mount.source

    # ----------------------------------------------------------------------------------------------------- as local

    def _local_command(self, name: str, command: Sequence[str]) -> list[str]:
        first, *rest = command
        return [self._programs.get(first, first), *(self._local(name, text) for text in rest)]

    def _local(self, name: str, text: str) -> str:
        """Say the same with local ports, hosts and paths."""
        if text == "0.0.0.0":
            return "127.0.0.1"
        if (name, text) in self._ports:
            return str(self._ports[name, text])
        text = self._hosts.sub(lambda found: f"127.0.0.1:{self._ports[self._place(name, found)]}", text)
        for mount in self.compose.services[name].mounts:
            text = re.sub(rf"(?<![\w.]){mount.target}(?![\w.-])", str(self.mounted(name, mount.target)), text)
        return text

    def _place(self, name: str, found: re.Match[str]) -> tuple[str, str]:
        host = found["host"]
        return (host if host in self.compose.services else name, found["port"])

    def _find_ports(self) -> None:
        for name, service in self.compose.services.items():
            places = {(name, str(port.target)) for port in service.published}
            for text in [*service.texts, *self._texts_of_files(service)]:
                places |= {self._place(name, found) for found in self._hosts.finditer(text)}
            for place in places - self._ports.keys():
                self._ports[place] = free_port()

    def _texts_of_files(self, service: Service) -> list[str]:
        files = [EXAMPLE / mount.source for mount in service.mounts if not mount.is_named]
        return [file.read_text("utf-8") for file in files if file.is_file()]

    def _lay_out_mounts(self) -> None:
        for name, service in self.compose.services.items():
            for mount in service.mounts:
                source, target = EXAMPLE / mount.source, self.mounted(name, mount.target)
                if mount.is_named:
                    target.mkdir(parents=True, exist_ok=True)
                elif source.is_dir():
                    shutil.copytree(source, target, dirs_exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(self._local(name, source.read_text("utf-8")), "utf-8")

    def _wait_for(self, name: str, condition: str) -> None:
        process = self._processes[name]
        ends = time.monotonic() + PATIENCE_S
        while True:
            status = process.poll()
            if condition == "service_completed_successfully" and status is not None:
                assert 0 == status, self.log(name)
                return
            if condition != "service_completed_successfully":
                assert status is None, f"{name} has ended with {status}: {self.log(name)}"
                if condition == "service_started" or self.is_healthy(name):
                    return
            assert time.monotonic() < ends, f"{name} is not {condition}: {self.log(name)[-4000:]}"
            time.sleep(_LOOK_EVERY_S)
