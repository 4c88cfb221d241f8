"""An agent that is killed while updates flow, and a server that is gone when it starts again: the backup serves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from cabochon_opa.testing import RealOpa

_AGENT = Path(__file__).with_name("agent_with_backup.py")
_PATIENCE_S = 90.0
"""Only for what hangs: an agent alone takes up to 20 s to start beside busy others."""


@contextmanager
def _agent(how: str, opa: RealOpa, backup: Path) -> Generator[subprocess.Popen[str]]:
    """Run an agent in a process of its own; at the end it is killed."""
    with _log(backup).open("a") as log:
        process = subprocess.Popen(
            [sys.executable, str(_AGENT), how, opa.url, str(backup)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _log(backup: Path) -> Path:
    return backup.with_suffix(".log")


def _saved(backup: Path) -> int:
    """How many backups were written so far, by all lives of the agent."""
    return _log(backup).read_text().count("store_backup.saved ")


_ASKED = {
    "health": "data.system.opal",
    "commit": "data.system.cabochon.commit",
    "pair": "data.pair",
    "grants": "data.grants",
    "base": "data.base",
    "version": "data.app.version",
}


def _data(opa: RealOpa) -> dict[str, Any]:
    """What OPA holds now."""
    with httpx.Client(base_url=opa.url) as client:
        return _asked(client)


def _asked(client: httpx.Client) -> dict[str, Any]:
    """Ask for all of it in one query, which is one read transaction of OPA's; what is not there is left out."""
    query = "; ".join(f"{name} := [x | x := {where}]" for name, where in _ASKED.items())
    (answer,) = client.post("/v1/query", json={"query": query}).json()["result"]
    return {name: found[0] for name, found in answer.items() if found}


def _health(data: dict[str, Any]) -> dict[str, Any]:
    return data.get("health", {})


def _until(opa: RealOpa, true: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
    """Ask OPA until it answers as wanted: the agent is another process, so there is no event to wait for."""
    deadline = time.monotonic() + _PATIENCE_S
    with httpx.Client(base_url=opa.url) as client:
        while time.monotonic() < deadline:
            data = _asked(client)
            if true(data):
                return data
            time.sleep(0.005)
    return pytest.fail(f"not within {_PATIENCE_S:g} s: {what}")


def _is_whole(data: dict[str, Any]) -> int:
    """Fail unless the documents are as of one update; return which."""
    number = data["pair"]["left"]["n"]
    assert number == data["pair"]["right"]["n"]
    grants = {f"u{n % 200}": {"n": n} for n in range(5, number + 1, 5)}
    assert grants == data.get("grants", {})
    return number


@pytest.mark.parametrize("emptied", [pytest.param(False, id="opa-lives-on"), pytest.param(True, id="opa-is-emptied")])
def test_killed_without_a_server(opa: RealOpa, chance: Random, tmp_path: Path, emptied: bool) -> None:  # noqa: FBT001 - pytest
    """
    The last known state is served, ready; once the server is there again it is caught up with, ready all the while.
    """
    backup = tmp_path / "backup.db"
    for _ in range(2):
        with _agent("flooding", opa, backup) as agent:
            _until(opa, lambda data: _health(data).get("healthy") and data.get("pair"), "updates flow")
            # One may have been under way already, and lack what makes it ready.
            enough = _saved(backup) + 2
            _until(opa, lambda _, enough=enough: _saved(backup) >= enough, "a backup of that")
            time.sleep(chance.uniform(0.0, 1.0))
            agent.kill()
            agent.wait()
        before = _is_whole(_data(opa))
        if emptied:
            opa.restart()
        with _agent("silent", opa, backup) as agent:
            lives = _data(opa).get("commit", {}).keys()
            data = _until(
                opa,
                lambda data, lives=lives: _health(data).get("ready") and data["commit"].keys() != lives,
                "ready without the server",
            )
            after = _is_whole(data)
            assert 0 < after <= before
            # Where OPA has lived on, it knows better than the backup.
            assert emptied or after == before
            assert ({"v": 1}, 1) == (data["base"], data["version"])
            assert (False, False) == (_health(data)["healthy"], _health(data)["source_connected"])
            _catch_up(agent, opa)


def _catch_up(agent: subprocess.Popen[str], opa: RealOpa) -> None:
    """Let the server be there again; fail if a reader sees an agent that is not ready, or a ghost in the end."""
    assert agent.stdin is not None
    agent.stdin.write("\n")
    agent.stdin.flush()

    def caught_up(data: dict[str, Any]) -> bool:
        assert _health(data)["ready"]
        return not data.get("grants") and not data.get("pair") and _health(data)["healthy"]

    data = _until(opa, caught_up, "no ghost")
    assert ({"v": 2}, 2) == (data["base"], data["version"])
