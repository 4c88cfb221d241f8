"""`cabochon agent run` with the local source: standard input, a followed file, the end of either."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

CABOCHON = str(Path(sys.executable).with_name("cabochon"))
PATIENCE_S = 60


def line(name: str) -> bytes:
    return b'{"id": "%b", "entries": [{"url": "", "dst_path": "/a", "data": 1}]}\n' % name.encode()


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
    # Whatever serves HTTP beside the source takes a free port: these tests run side by side.
    own = {"OPAL_POLICY_STORE_TYPE": "MOCK", "OPAL_UPDATE_SOURCE": "local", "OPAL_CLIENT_API_SERVER_PORT": "0"}
    return {**kept, **own, **variables}


@contextmanager
def agent(**variables: str) -> Generator[subprocess.Popen[bytes]]:
    """Run an agent with a mock engine, its log in `stderr`."""
    with subprocess.Popen(
        [CABOCHON, "agent", "run"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def write(process: subprocess.Popen[bytes], *lines: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(lines))
    process.stdin.flush()


def read_until(process: subprocess.Popen[bytes], *marks: str) -> str:
    """Read the log until each mark has been seen; fail at its end."""
    assert process.stderr is not None
    seen = ""
    while not all(mark in seen for mark in marks):
        logged = process.stderr.readline().decode()
        assert logged, f"the agent ended without logging {marks}; it logged:\n{seen}"
        seen += logged
    return seen


def test_standard_input_is_read_as_it_comes_and_to_its_end() -> None:
    """A line takes effect when it has ended; the agent ends with its input."""
    with agent(OPAL_LOCAL_UPDATES="-") as process:
        write(process, line("first"))
        read_until(process, "update_id=first")
        write(process, b"no update\n", line("second"), line("third").strip())
        assert process.stdin is not None
        process.stdin.close()
        seen = read_until(process, "update_id=second", "update_id=third")

        assert 0 == process.wait(PATIENCE_S)
    assert "data_update.malformed" in seen


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_agent_ends_while_it_waits_for_standard_input(end: signal.Signals) -> None:
    """Nothing that waits for input keeps the process alive."""
    with agent(OPAL_LOCAL_UPDATES="-") as process:
        write(process, line("first"))
        read_until(process, "update_id=first")
        process.send_signal(end)

        assert 0 == process.wait(10)


def test_standard_input_may_be_a_file(tmp_path: Path) -> None:
    """The shell's `<` works as a pipe does."""
    file = tmp_path / "updates.jsonl"
    file.write_bytes(line("first") + line("second"))
    with file.open("rb") as given:
        done = subprocess.run(
            [CABOCHON, "agent", "run"],
            stdin=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
            env=environment(OPAL_LOCAL_UPDATES="-"),
        )

    assert "update_id=first" in done.stderr
    assert "update_id=second" in done.stderr


def test_followed_file_is_read_on(tmp_path: Path) -> None:
    """The agent goes on with what is appended, until it is told to end."""
    file = tmp_path / "updates.jsonl"
    file.write_bytes(line("first"))
    with agent(OPAL_LOCAL_UPDATES=str(file), OPAL_LOCAL_FOLLOW="true") as process:
        read_until(process, "update_id=first")
        with file.open("ab") as more:
            more.write(line("second"))
        read_until(process, "update_id=second")
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(10)


def test_base_data_alone_are_loaded_once() -> None:
    """Without updates the agent ends when its base data are in the store."""
    sources = '{"config": {"entries": [{"url": "", "dst_path": "/users", "data": {"ann": {}}}]}}'
    with agent(OPAL_DATA_CONFIG_SOURCES=sources) as process:
        read_until(process, "transaction.ended")

        assert 0 == process.wait(PATIENCE_S)
