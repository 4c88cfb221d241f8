"""Ports for engines of tests that run side by side."""

from __future__ import annotations

import subprocess
import sys

from cabochon.testing.real_engine import free_port

_TWENTY = "from cabochon.testing.real_engine import free_port; print(*(free_port() for _ in range(20)))"


def test_no_two_processes_get_the_same_port() -> None:
    """However long it takes until something listens there."""
    ours = {free_port() for _ in range(500)}
    done = subprocess.run([sys.executable, "-W", "error", "-c", _TWENTY], capture_output=True, text=True, check=True)
    theirs = {int(port) for port in done.stdout.split()}

    assert (20, set(), "") == (len(theirs), ours & theirs, done.stderr)
