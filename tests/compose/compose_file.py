"""What the example's compose.yaml and Dockerfiles say, read strictly: a key that is not known here is an error."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EXAMPLE", "ROOT", "ComposeFile", "Dockerfile", "Mount", "Port", "Service"]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "compose"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(_Part):
    """How an image is built."""

    context: str
    dockerfile: str

    @property
    def path(self) -> Path:
        """The Dockerfile."""
        return self.folder / self.dockerfile

    @property
    def folder(self) -> Path:
        """The context."""
        return (EXAMPLE / self.context).resolve()


class Dependency(_Part):
    """What has to be the case before a service starts."""

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Healthcheck(_Part):
    """A command that exits with 0 once the service is of use."""

    test: list[str]
    interval: str
    timeout: str
    retries: int

    @property
    def command(self) -> list[str]:
        """The program and its arguments."""
        assert "CMD" == self.test[0], "a shell may not be there"
        return self.test[1:]


class Mount:
    """`source:target[:ro]` of a service's volumes."""

    def __init__(self, text: str) -> None:
        self.source, self.target, *mode = text.split(":")
        assert mode in ([], ["ro"]), text
        self.read_only = bool(mode)
        self.is_named = not self.source.startswith(".")


class Port:
    """`host:published:target` of a service's ports."""

    def __init__(self, text: str) -> None:
        self.host, published, target = text.split(":")
        self.published, self.target = int(published), int(target)


class Service(_Part):
    """One service."""

    build: Build | None = None
    image: str | None = None
    user: str | None = None
    init: bool = False
    entrypoint: list[str] = Field(default_factory=list[str])
    command: list[str]
    environment: dict[str, str] = Field(default_factory=dict[str, str])
    volumes: list[str] = Field(default_factory=list[str])
    ports: list[str] = Field(default_factory=list[str])
    depends_on: dict[str, Dependency] = Field(default_factory=dict[str, Dependency])
    healthcheck: Healthcheck | None = None
    stop_grace_period: str = "10s"
    read_only: bool = False
    tmpfs: list[str] = Field(default_factory=list[str])
    cap_drop: list[str] = Field(default_factory=list[str])
    security_opt: list[str] = Field(default_factory=list[str])

    @property
    def whole_command(self) -> list[str]:
        """What runs: the entrypoint, if one is named, and the command."""
        return [*self.entrypoint, *self.command]

    @property
    def mounts(self) -> list[Mount]:
        """What is mounted."""
        return [Mount(text) for text in self.volumes]

    @property
    def published(self) -> list[Port]:
        """What can be reached from outside."""
        return [Port(text) for text in self.ports]

    @property
    def grace_s(self) -> float:
        """How long it may take to stop."""
        return float(self.stop_grace_period.removesuffix("s"))

    @property
    def is_agent(self) -> bool:
        """Whether an agent of ours runs in it."""
        return ["cabochon", "agent", "run"] == self.command

    @property
    def texts(self) -> list[str]:
        """All that may name a host, a port or a path."""
        checked = self.healthcheck.command if self.healthcheck else []
        return [*self.whole_command, *self.environment.values(), *checked]


class ComposeFile(BaseModel):
    """The whole file; what starts with `x-` is there for its anchors."""

    name: str
    services: dict[str, Service]
    volumes: dict[str, None]

    @classmethod
    def read(cls) -> ComposeFile:
        """Read the example's."""
        document: Mapping[str, Any] = yaml.safe_load((EXAMPLE / "compose.yaml").read_text("utf-8"))
        known = {key: value for key, value in document.items() if not key.startswith("x-")}
        assert known.keys() == cls.model_fields.keys()
        return cls.model_validate(known)

    def in_order(self) -> list[str]:
        """Order the services so that each comes after those that it depends on.

        Raises:
            AssertionError: that can't be.
        """
        order: list[str] = []
        while len(order) < len(self.services):
            ready = [
                name
                for name, service in self.services.items()
                if name not in order and service.depends_on.keys() <= set(order)
            ]
            assert ready, f"these wait for one another: {sorted(self.services.keys() - set(order))}"
            order += ready
        return order


class Dockerfile:
    """A Dockerfile's instructions, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def instructions(self) -> list[tuple[str, str]]:
        """Each instruction and what follows it; comments are left out, continued lines are one."""
        lines = [line for line in self.path.read_text("utf-8").splitlines() if not line.startswith("#")]
        text = re.sub(r"\\\n\s*", "", "\n".join(lines))
        return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]

    def all_of(self, instruction: str) -> list[str]:
        """What follows each such instruction."""
        return [rest for word, rest in self.instructions if word == instruction]

    @property
    def copied(self) -> list[tuple[str, str]]:
        """What is copied from the context, and where to."""
        copies = [shlex.split(rest) for rest in self.all_of("COPY") if not rest.startswith("--from=")]
        assert all(len(copy) == 2 for copy in copies), copies
        return [(source, target) for source, target in copies]
