"""What the kits of backbones write and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeAlias

import anyio

from cabochon.contract.backbone import Backbone, LogRecord, NewRecord

__all__ = ["PROMPT_S", "Opened", "data", "followed", "numbers", "read_all"]

PROMPT_S = 10.0
"""What should happen at once must happen within so many seconds, on a busy machine too."""

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Backbone]]
"""Opens the log of the test; each call the same one."""


def data(*bodies: object) -> list[NewRecord]:
    """Return a record for each of these."""
    return [NewRecord("data", ("policy_data",), str(body).encode()) for body in bodies]


async def read_all(backbone: Backbone, after: int = 0, *, limit: int = 100) -> list[LogRecord]:
    """Read page after page."""
    found: list[LogRecord] = []
    while page := await backbone.read(after, limit=limit):
        assert len(page) <= limit
        after = page[-1].number
        found += page
    return found


async def followed(backbone: Backbone, after: int, last: int) -> list[LogRecord]:
    """Follow the log after one number until another has come."""
    found: list[LogRecord] = []
    with anyio.fail_after(PROMPT_S):
        async with aclosing(backbone.follow(after)) as batches:
            while not found or found[-1].number < last:
                batch = await anext(batches)
                assert batch, "a batch without a record"
                found += batch
    return found


def numbers(records: Sequence[LogRecord]) -> list[int]:
    """Return what follows from each record's place."""
    return [record.number for record in records]
