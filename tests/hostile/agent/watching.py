"""How long an agent leaves others without an answer, from a thread that asks all the time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from ..authority.programs import PATIENCE_S, Program  # noqa: TID252 - a neighbour's

__all__ = ["Watch", "ends_within_s", "resident_mb", "until", "watched"]


class Watch:
    """Asks for an agent's health every 50 ms, and keeps the longest time that an answer took."""

    def __init__(self, program: Program) -> None:
        self._url = f"{program.url}/healthcheck"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.longest_s = 0.0

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=PATIENCE_S) as http:
            while not self._ended.wait(0.05):
                began = time.monotonic()
                with suppress(httpx.HTTPError):
                    http.get(self._url)
                self.longest_s = max(self.longest_s, time.monotonic() - began)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def watched(program: Program) -> Generator[Watch]:
    watch = Watch(program)
    watch.start()
    try:
        yield watch
    finally:
        watch.end()


def until(wanted: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + within_s
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.05)


def ends_within_s(program: Program) -> float:
    """Send SIGTERM and return how long the process goes on."""
    os.kill(program.pid, signal.SIGTERM)
    began = time.monotonic()
    until(lambda: not _runs(program.pid))
    return time.monotonic() - began


def resident_mb(program: Program) -> float:
    pages = Path(f"/proc/{program.pid}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1_000_000


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
