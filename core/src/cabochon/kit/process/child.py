"""One run of an engine as a process: started so that it can't outlive us, listened to, and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

from cabochon.settings.model import PREFIX

__all__ = ["LineSplitter", "run_process", "start_process"]

_EXEC = Path(__file__).with_name("exec_child.py")
_STOP_GRACE_S = 2.0
"""Between SIGTERM and SIGKILL. The agent itself has 10 s to end, and spends up to 8 of them before that."""

_LAST_LINES_S = 1.0
_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024


def start_process(command: Sequence[str], environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start an engine with pipes for its output, in a session of its own.

    On Linux it dies with the thread that calls this. That is why `anyio.open_process` is not used: on trio it forks in
    a worker thread, which ends after ten idle seconds and would take the engine with it. Call this from the thread of
    the event loop, which lives as long as the agent does. Elsewhere only the orderly stop ends it.

    The session is its own so that Ctrl-C, which a terminal sends to all processes in the foreground, does not end the
    engine before the agent's last commit. Variables with our prefix stay here, since they hold tokens, and some engines
    show their environment to whoever may ask them a query.

    Args:
        command: the executable and its arguments.
        environ: the environment to hand on; the process's own by default.

    Raises:
        OSError: it can't be started.
    """
    given = os.environ if environ is None else environ
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", str(_EXEC), str(os.getpid()), *command]
    return subprocess.Popen(  # noqa: S603 - the operator's own executable and options, no shell
        command,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in given.items() if not name.startswith(PREFIX)},
        start_new_session=True,
    )


async def run_process(process: subprocess.Popen[bytes], on_line: Callable[[bytes], None], end: anyio.Event) -> int:
    """Read all that the process writes until it ends, and return its exit code, negative for a signal.

    Args:
        process: as `start_process` gives it.
        on_line: called with each line of its output.
        end: when set, the process is told to end, and killed if it takes longer than two seconds. Cancelling does the
            same; either way the process is gone afterwards.
    """
    with process:
        try:
            async with anyio.create_task_group() as tasks:
                async with anyio.create_task_group() as reading:
                    for stream in filter(None, (process.stdout, process.stderr)):
                        reading.start_soon(_read_lines, stream, on_line)
                    tasks.start_soon(_end_when_told, process, end)
                    await _wait(process)
                    reading.cancel_scope.deadline = anyio.current_time() + _LAST_LINES_S
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
    return process.returncode


async def _end_when_told(process: subprocess.Popen[bytes], end: anyio.Event) -> None:
    await end.wait()
    process.terminate()
    await anyio.sleep(_STOP_GRACE_S)
    process.kill()


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with anyio.move_on_after(_STOP_GRACE_S):
            await _wait(process)
    if process.poll() is None:
        process.kill()
        await _wait(process)


async def _read_lines(stream: IO[bytes], on_line: Callable[[bytes], None]) -> None:
    os.set_blocking(stream.fileno(), False)
    lines = LineSplitter()
    while True:
        await anyio.wait_readable(stream.fileno())
        try:
            chunk = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            continue
        for line in lines.feed(chunk):
            on_line(line)
        if not chunk:
            return


async def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end, and take the exit code, so that no zombie stays."""
    handle = _handle(process)
    if handle is None:
        await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
        return
    try:
        await anyio.wait_readable(handle)
    finally:
        os.close(handle)
    process.wait()


def _handle(process: subprocess.Popen[bytes]) -> int | None:
    """Return a file descriptor that becomes readable when the process ends, where the platform has that."""
    if sys.platform == "linux" and process.returncode is None:
        try:
            return os.pidfd_open(process.pid)
        except OSError:
            return None
    return None


class LineSplitter:
    """Cuts a stream into lines, without ever holding more than one, and that one bounded."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give the lines that `chunk` ends, without their ends; an empty chunk is the end of the stream."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._add(part)
            yield self._taken()
        self._add(rest)
        if not chunk and self._begun:
            yield self._taken()

    def _add(self, part: bytes) -> None:
        self._begun += part[: _LONGEST_LINE - len(self._begun)]

    def _taken(self) -> bytes:
        line = bytes(self._begun)
        self._begun.clear()
        return line
