"""Work on a large document is done in another process, so that it does not hold up the event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyio import BrokenWorkerProcess, to_process, to_thread

__all__ = ["LARGE_BYTES", "off_loop"]

LARGE_BYTES = 1_000_000
"""From this size on, work on a document goes to another process: a thread would still hold the interpreter's lock."""

_TRIES = 3
"""Processes that may be killed, as the system does where memory is short, before a thread does the work."""

T = TypeVar("T")


async def off_loop(work: Callable[[bytes], T], raw: bytes) -> T:
    """Do `work` on `raw` here if that is quick, in another process if `raw` is large: begun again if that is killed.

    Raises:
        JsonError: as `work` does.
    """
    if len(raw) < LARGE_BYTES:
        return work(raw)
    for _ in range(_TRIES):
        with suppress(BrokenWorkerProcess, ProcessLookupError):
            return await to_process.run_sync(work, raw, cancellable=True)
    return await to_thread.run_sync(work, raw)
