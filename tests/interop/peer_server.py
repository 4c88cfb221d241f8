"""The real peer's server as a process of its own, and a git repository for it to follow."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import anyio
from anyio import to_thread

from cabochon.testing.http_server import ScriptedHttpServer

__all__ = ["PeerServer", "PolicyRepository"]

UP_WITHIN_S = 120.0
AUTHOR = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class PolicyRepository:
    """A git repository; each change is a commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._git("init", "-q", "-b", "main")

    def commit(self, files: Mapping[str, str | None]) -> str:
        """Write files, None removes one; the hash of the commit."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self._git("add", "--all")
        self._git("commit", "-q", "-m", "change")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *command: str) -> str:
        env = {**os.environ, **AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *command], cwd=self.folder, env=env, check=True, capture_output=True, text=True)
        return done.stdout


class PeerServer:
    """One server process; leaving the block ends it."""

    def __init__(self, python: Path, home: Path, repository: PolicyRepository, **settings: Any) -> None:
        with ScriptedHttpServer() as free:
            self.port = free.port
        home.mkdir()
        self.home = home
        self._command = [str(python), "-m", "uvicorn", "opal_server.main:app", "--port", str(self.port)]
        own = {
            "POLICY_REPO_URL": str(repository.folder),
            "POLICY_REPO_MAIN_BRANCH": "main",
            "POLICY_REPO_CLONE_PATH": str(home / "clone"),
            "POLICY_REPO_POLLING_INTERVAL": "1",
            "LEADER_LOCK_FILE_PATH": str(home / "leader.lock"),
            "AUTH_JWKS_STATIC_DIR": str(home / "jwks"),
            "LOG_COLORIZE": "false",
            **{name: str(value) for name, value in settings.items()},
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "COVERAGE_"))}
        self._env = {**kept, **{f"OPAL_{name}": value for name, value in own.items()}}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it answers and has its repository."""
        self._process = self._started()
        with anyio.fail_after(UP_WITHIN_S):
            while await to_thread.run_sync(self._status, "/policy") != 200:  # a process of its own
                assert self._process.poll() is None, self.log()
                await anyio.sleep(0.1)

    def _started(self) -> subprocess.Popen[bytes]:
        with (self.home / "log.txt").open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=self.home, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def log(self) -> str:
        return (self.home / "log.txt").read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def publish(self, *entries: Mapping[str, Any]) -> None:
        """Publish one update, as anyone would: `POST /data/config`."""
        body = json.dumps({"id": "published", "entries": entries, "reason": "test"}).encode()
        assert await to_thread.run_sync(self._status, "/data/config", body) == 200, self.log()

    async def statistics(self) -> Sequence[Any]:
        return await to_thread.run_sync(self._statistics)

    def _statistics(self) -> Sequence[Any]:
        with urllib.request.urlopen(f"{self.url}/statistics", timeout=10) as answer:  # noqa: S310 # our own URL
            return list(json.load(answer)["clients"])

    def _status(self, path: str, body: bytes | None = None) -> int:
        request = urllib.request.Request(self.url + path, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 # our own URL
                return answer.status
        except urllib.error.HTTPError as err:
            return err.code
        except OSError:
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
