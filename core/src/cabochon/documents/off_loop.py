"""Work on a large document is done in another process, so that it does not hold up the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import to_process

__all__ = ["LARGE_BYTES", "off_loop"]

LARGE_BYTES = 1_000_000
"""From this size on, work on a document goes to another process: a thread would still hold the interpreter's lock."""

T = TypeVar("T")


async def off_loop(work: Callable[[bytes], T], raw: bytes) -> T:
    """Do `work` on `raw` here if that is quick, in another process if `raw` is large.

    Raises:
        JsonError: as `work` does.
    """
    if len(raw) < LARGE_BYTES:
        return work(raw)
    return await to_process.run_sync(work, raw, cancellable=True)
