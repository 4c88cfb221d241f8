"""`cabochon demo --store OPA`: every promise is kept by a real OPA that the demo runs itself, in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cabochon_opa.testing import opa_or_skip

CABOCHON = str(Path(sys.executable).with_name("cabochon"))
PATIENCE_S = 90


@pytest.fixture(scope="module")
def opa_path() -> Path:
    """The executable; without one the tests skip, except in CI."""
    return opa_or_skip()


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
    return {**kept, "HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", **more}


def demo(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CABOCHON, "demo", "--store", "OPA", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(**more),
    )


@pytest.mark.parametrize("delivery", ["rest", "bundle"])
def test_every_promise_is_kept_by_opa(opa_path: Path, delivery: str) -> None:
    """
    It runs without further settings, and the operator's own OPA, which the settings name, is left alone.
    """
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        address = f"127.0.0.1:{theirs.getsockname()[1]}"
        done = demo(
            "--fast",
            "--json",
            OPAL_INLINE_OPA_EXEC_PATH=str(opa_path),
            OPAL_POLICY_STORE_URL=f"http://{address}",
            OPAL_INLINE_OPA_CONFIG=json.dumps({"addr": address}),
            OPAL_OPA_POLICY_DELIVERY=delivery,
        )
        theirs.settimeout(0)
        with pytest.raises(BlockingIOError):
            theirs.accept()

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    outcome = json.loads(done.stdout)
    assert outcome["held"]
    assert outcome["system.opal"]["agent_alive"], "the document is the one that OPA shows"


def test_missing_opa_is_one_line_that_says_how_to_get_it(tmp_path: Path) -> None:
    """
    Nothing is drawn, nothing is started.
    """
    done = demo("--fast", PATH=str(tmp_path))

    assert (2, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())
    assert "go install github.com/open-policy-agent/opa" in done.stderr


def test_ctrl_c_takes_opa_along(opa_path: Path, tmp_path: Path) -> None:
    """
    Who is told to end leaves no OPA behind.
    """
    pids = tmp_path / "pids"
    wrapper = tmp_path / "opa"
    wrapper.write_text(f'#!/bin/sh\necho $$ >> "{pids}"\nexec "{opa_path}" "$@"\n')
    wrapper.chmod(0o755)
    with subprocess.Popen(
        [CABOCHON, "demo", "--store", "OPA", "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(OPAL_INLINE_OPA_EXEC_PATH=str(wrapper), PYTHONUNBUFFERED="1"),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"A live update" in line:
                break
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE_S)

    assert (130, b"") == (process.returncode, error.strip())
    started = [int(pid) for pid in pids.read_text().split()]
    assert started
    until = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/exe").exists() for pid in started):
        assert time.monotonic() < until, "OPA lives on"
        time.sleep(0.05)
