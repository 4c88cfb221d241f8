"""How to reach a git repository: by HTTP with timeouts, by SSH with a key."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dulwich.client import GitClient, default_urllib3_manager, get_transport_and_path

__all__ = ["git_client", "ssh_command", "write_key"]

_FILE = "file://"
_READ_TIMEOUT_S = 60.0
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=30")
# A connection that says nothing for a minute is given up.
_SSH_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")


@contextmanager
def git_client(url: str, *, ssh: str) -> Generator[tuple[GitClient, str]]:
    """Make the client for a URL, and the path to ask it for; its connections end with the block.

    Raises:
        ValueError: the URL is none.
    """
    pool: Any = None
    if url.startswith(("http://", "https://")):
        pool = default_urllib3_manager(None, base_url=url, timeout=_READ_TIMEOUT_S)
    elif url.startswith(_FILE):
        url = _local(url)
    try:
        yield get_transport_and_path(url, ssh_command=ssh, pool_manager=pool)
    finally:
        if pool is not None:
            pool.clear()


def _local(url: str) -> str:
    """Return the folder that a file:// URL names, written as it is or with %20 and the like, as git has it."""
    path = url.removeprefix(_FILE)
    if not path.startswith("/"):
        path = f"/{path.partition('/')[2]}"  # a host, which is this one
    return path if Path(path).exists() else unquote(path)


def ssh_command(key: Path | None, environ: Mapping[str, str]) -> str:
    """Make the command of SSH: GIT_SSH_COMMAND if the environment has it, as git does."""
    given = environ.get("GIT_SSH_COMMAND")
    base = given if given is not None else shlex.join((*_SSH, *_SSH_ALIVE))
    if key is None:
        return base
    return f"{base} -o IdentitiesOnly=yes -i {shlex.quote(str(key))}"


def write_key(folder: Path, text: str) -> Path:
    """Write a private key, whose newlines may be written as _, where only its owner can read it."""
    lines = text.strip().replace("_", "\n") if "\n" not in text.strip() else text.strip()
    path = folder / "ssh_key"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{lines}\n")
    return path
