"""What building an image does, done here as far as it can be without a container engine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .compose_file import EXAMPLE, ROOT, Dockerfile

__all__ = ["DOCKERFILES", "build"]

DOCKERFILES = [Dockerfile(path) for path in sorted(EXAMPLE.glob("*.Dockerfile"))]
_WHERE = "/opt/cabochon"


def build(dockerfile: Dockerfile, folder: Path) -> Path:
    """Copy what it copies, run what it runs up to the second FROM; return the environment that this has made."""
    installed = folder / "opt"
    workdir = folder
    stages = 0
    for instruction, rest in dockerfile.instructions:
        stages += instruction == "FROM"
        if stages > 1:
            break
        if instruction == "COPY":
            source, target = shlex.split(rest)
            _copy(ROOT / source, folder / target.lstrip("/"), as_folder=target.endswith("/"))
        elif instruction == "WORKDIR":
            workdir = folder / rest.lstrip("/")
        elif instruction == "RUN":
            command = rest.replace(_WHERE, str(installed))
            done = subprocess.run(
                ["sh", "-c", command], cwd=workdir, env=_environment(), capture_output=True, text=True, check=False
            )
            assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"
    return installed


def _environment() -> dict[str, str]:
    """No variable of Cabochon's or Python's, and this Python as `python`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "PYTHON"))}
    return clean | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _copy(source: Path, target: Path, *, as_folder: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "dist"))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if as_folder:
        target.mkdir(exist_ok=True)
    shutil.copy(source, target)
