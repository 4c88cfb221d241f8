"""Become an engine, and never outlive the agent: run as a script, `exec_child.py <agent's pid> <engine> <argument>...`.

The process that the agent forks runs this first and is then replaced by the engine, so that no third process stays.
Between the two it asks Linux to kill it when its parent ends, whatever the end: `kill -9`, a crash, out of memory. The
request survives the exec, unless the executable has file capabilities or is set-user-ID: then only the orderly stop is
left.

Nothing is imported but the standard library's least, since every start waits for it.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CANT_EXECUTE = 126


def main() -> None:
    """Do it; returns only by exiting."""
    parent, executable = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The agent died before the request was made, and Linux will send nothing any more.
        os._exit(1)
    try:
        os.execv(executable, sys.argv[2:])  # noqa: S606 - a shell is what is not wanted
    except OSError as err:
        sys.stderr.write(f"error: {executable} can't be executed: {err.strerror}\n")
        sys.stderr.flush()
        os._exit(_CANT_EXECUTE)


if __name__ == "__main__":
    main()
