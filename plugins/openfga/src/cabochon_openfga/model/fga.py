"""The `fga` executable, which turns OpenFGA's language into JSON and judges models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import anyio
import anyio.to_thread
import structlog

__all__ = ["FgaCli", "ModelFolder", "NoFgaError", "Said"]

log = structlog.get_logger()

_PATIENCE_S = 30.0
_HOW_TO_GET_IT = (
    'pip install "cabochon-openfga[dsl]" brings it; OPAL_OPENFGA_CLI_PATH names one that is not on PATH; models in JSON'
    " need none"
)


class NoFgaError(Exception):
    """There is no `fga`, or it does not work; the message says what to do."""


class Said:
    """What a run of it came to: `fine`, its `output`, its `complaint`."""

    def __init__(self, code: int, output: bytes, complaint: bytes) -> None:
        self.fine = code == 0
        self.output = output
        self.complaint = complaint.decode("utf-8", "replace")


class ModelFolder:
    """The files of a model in a folder of their own; a context manager that removes it.

    Args:
        sources: by path, as in the repository.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Path:
        """Write them, and return the folder."""
        return await anyio.to_thread.run_sync(self._write)

    async def __aexit__(self, *_: object) -> None:
        """Remove them."""
        folder = self._folder
        if folder is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(folder.cleanup)

    def _write(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="cabochon-openfga-")
        root = Path(self._folder.name)
        for name, source in self._sources.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                continue  # the executable says that it misses it
            file = root.joinpath(*path.parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source, "utf-8")
        return root


class FgaCli:
    """Runs `fga model ...`.

    Args:
        path: `OPAL_OPENFGA_CLI_PATH`.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def find(self) -> Path | None:
        """Find it: where the setting says, beside this Python, on PATH; None if it is nowhere."""
        if self._path is not None:
            found = shutil.which(str(Path(self._path).expanduser()) if "/" in self._path else self._path)
        else:
            found = shutil.which("fga", path=str(Path(sys.executable).parent)) or shutil.which("fga")
        return None if found is None else Path(found)

    async def run(self, action: Literal["transform", "validate"], file: Path, kind: str) -> Said:
        """Let it read one file.

        Args:
            action: "transform" writes JSON, "validate" judges.
            file: the model's main file.
            kind: "json", "fga" or "modular".

        Raises:
            NoFgaError: it is not there, or it hangs.
        """
        binary = await anyio.to_thread.run_sync(self.find)
        if binary is None:
            raise NoFgaError(f"models in OpenFGA's language need the fga executable: {_HOW_TO_GET_IT}")
        option = "--input-format" if action == "transform" else "--format"
        command = [str(binary), "model", action, "--file", str(file), option, kind]
        try:
            with anyio.fail_after(_PATIENCE_S):
                done = await anyio.run_process(
                    command, check=False, stdin=subprocess.DEVNULL, cwd=file.parent, env=_environment(file.parent)
                )
        except (OSError, TimeoutError) as err:
            why = "does not answer" if isinstance(err, TimeoutError) else f"can't be executed: {err.strerror}"
            raise NoFgaError(f"{binary} {why}; {_HOW_TO_GET_IT}") from err
        return Said(done.returncode, done.stdout, done.stderr)


def _environment(home: Path) -> dict[str, str]:
    """Keep the operator's own configuration of the executable, and our secrets, out of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FGA_", "OPAL_", "XDG_"))}
    return {**kept, "HOME": str(home)}
