"""The Dockerfiles' own commands, run outside containers, make environments in which each service would start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .compose_file import ComposeFile, Dockerfile
from .images import DOCKERFILES, build

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

SERVICES = ComposeFile.read().services


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda dockerfile: dockerfile.path.name)
def test_image_has_all_that_its_services_need(dockerfile: Dockerfile, tmp_path: Path) -> None:
    """
    The program is there with every plugin that the variables ask for, and reads each of these variables.
    """
    installed = build(dockerfile, tmp_path)
    built = [service for service in SERVICES.values() if service.build and service.build.path == dockerfile.path]
    running = [service for service in built if service.command[0] == "cabochon"]

    assert running
    for service in running:
        _, subject, _ = service.command
        done = subprocess.run(
            [installed / "bin" / "cabochon", subject, "print-config"],
            env={"PATH": os.environ["PATH"], **service.environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ("", 0) == (done.stderr, done.returncode)
        for name in service.environment:
            (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name}=")]
            assert not line.endswith("(default)")
