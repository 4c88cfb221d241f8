"""An environment with the real peer in it, made once and kept outside the checkout."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

PEER = "0.9.6"
REQUIREMENTS = f"opal-client=={PEER} opal-common=={PEER} opal-server=={PEER}"


class NoPeerError(Exception):
    """The environment can't be made; the message says why."""


def cache_folder() -> Path:
    """Return where caches go: `CABOCHON_CACHE`, else a folder of ours in the user's cache."""
    own = os.environ.get("CABOCHON_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cabochon"


def peer_python() -> Path:
    """Return the Python of an environment that has the peer's client and server, made now if need be.

    Several processes may ask at once: one makes it, the others wait. What an interrupted run has left is completed.

    Raises:
        NoPeerError: it can't be made.
    """
    folder = cache_folder() / f"peer-{PEER}"
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder / ".complete"
        wanted = f"{REQUIREMENTS}\n{sys.version}\n"
        if not (complete.is_file() and complete.read_text() == wanted and _runs(python)):
            if not _runs(python):
                _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _install(python)
            complete.write_text(wanted)
    return python


def _install(python: Path) -> None:
    """Install with uv, which takes seconds where pip takes minutes, and with pip where there is no uv."""
    try:
        _run(sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python), *REQUIREMENTS.split())
    except NoPeerError:
        _run(str(python), "-m", "pip", "install", "-q", "--no-input", "--retries", "2", *REQUIREMENTS.split())


def _runs(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise NoPeerError(f"{' '.join(command[1:4])} failed: {lines[-1]}")
