"""Blocking work that nobody has to wait for: not who gave it up, and not the end of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

__all__ = ["in_own_thread"]

T = TypeVar("T")


def _nothing() -> None:
    """Do nothing: the thread can't be told."""


async def in_own_thread(work: Callable[[], T], give_up: Callable[[], None] = _nothing) -> T:
    """Run `work` in a thread of its own, and return or raise what it does.

    Cancelled, it calls `give_up` and leaves the thread to itself. So does the interpreter when it ends, which would
    join one of anyio's: a server would not end before a remote that hangs was given up.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(how: Callable[[], None]) -> None:
        if not done.done():
            how()

    def run() -> None:
        try:
            result = work()
        except BaseException as err:  # noqa: BLE001 - it is raised where it is awaited
            failure = err
            tell(lambda: done.set_exception(failure))
        else:
            tell(lambda: done.set_result(result))

    def tell(how: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, how)

    Thread(target=run, name=f"{__name__} {getattr(work, '__name__', '')}", daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        give_up()
        raise
