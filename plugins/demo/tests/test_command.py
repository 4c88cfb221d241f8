"""`cabochon demo` as a person starts it: exit codes, forms of output, and what is drawn on a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CABOCHON = str(Path(sys.executable).with_name("cabochon"))
PATIENCE_S = 60


def environment(**more: str) -> dict[str, str]:
    """No setting of the person who runs the tests, but a proxy that must not be asked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
    return {**kept, "HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", **more}


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CABOCHON, "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(**more),
    )


def test_plain_output_ends_with_promises_and_document() -> None:
    """Without a terminal lines are written; the end is a table, the document of system.opal and the verdict."""
    done = run("--fast")

    assert (0, "") == (done.returncode, done.stderr)
    story, summary = done.stdout.split("What was promised")
    assert "kept: a PUT is in the store" in story
    assert "kept" in summary
    document = summary[summary.index("{\n") : summary.rindex("}") + 1]
    assert json.loads(document)["ready"] is True
    assert summary.strip().splitlines()[-1].startswith("All ")


def test_json_output_is_one_document() -> None:
    """`--json` writes nothing else."""
    done = run("--fast", "--json")

    outcome: dict[str, Any] = json.loads(done.stdout)
    assert (0, "", True) == (done.returncode, done.stderr, outcome["held"])
    assert all(promise["held"] for step in outcome["steps"] for promise in step["promises"])
    assert {"ready", "healthy", "in_sync", "last_data_transaction"} <= outcome["system.opal"].keys()
    assert outcome["records"] > 300


def test_unknown_store_exits_with_2() -> None:
    """A store that is not installed is one line, with what is."""
    done = run("--fast", "--store", "nosuch")

    assert (2, "") == (done.returncode, done.stdout)
    assert "MOCK" in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_logs_are_the_operators_choice() -> None:
    """What is meant to fail is not logged as a failure, unless the operator asks for it."""
    assert "fetch.failed" in run("--fast", "--json", OPAL_LOG_LEVEL="WARNING").stderr


@pytest.mark.parametrize("terminal", [True, False], ids=["screen", "plain"])
def test_ctrl_c_exits_with_130(terminal: bool) -> None:  # noqa: FBT001 - pytest's
    """Ctrl-C ends it at once, without a traceback, and gives the screen back."""
    ours, theirs = pty.openpty()
    out = theirs if terminal else subprocess.PIPE
    with subprocess.Popen(
        [CABOCHON, "demo"], stdout=out, stderr=subprocess.PIPE, env=environment(TERM="xterm", COLUMNS="100", LINES="30")
    ) as process:
        os.close(theirs)
        source = ours if terminal else process.stdout.fileno() if process.stdout else -1
        shown = read_until(source, b"A live update")
        process.send_signal(signal.SIGINT)
        shown += read_until(source, None)
        error = process.stderr.read() if process.stderr else b""
    os.close(ours)

    assert (130, b"") == (process.returncode, error.strip())
    assert b"Traceback" not in shown
    assert (b"\x1b[?1049l" in shown) is terminal


def test_screen_shows_what_happens() -> None:
    """On a terminal the whole screen is used, and given back before the summary."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [CABOCHON, "demo", "--fast"], stdout=theirs, env=environment(TERM="xterm", COLUMNS="100", LINES="30")
    ) as process:
        os.close(theirs)
        shown = read_until(ours, None).decode()
    os.close(ours)

    assert 0 == process.returncode
    screen, _, summary = shown.rpartition("\x1b[?1049l")
    assert "the story" in screen
    assert "transactions" in screen
    assert "callbacks" in screen
    assert "What was promised" in summary


def read_until(source: int, mark: bytes | None) -> bytes:
    """Read from a file descriptor until `mark` is in it, or to the end."""
    shown = b""
    deadline = time.monotonic() + PATIENCE_S
    while (mark is None or mark not in shown) and time.monotonic() < deadline:
        try:
            chunk = os.read(source, 65536)
        except OSError:  # how a pseudo-terminal says that its other end is closed
            break
        if not chunk:
            break
        shown += chunk
    return shown
