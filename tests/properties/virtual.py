"""Run async code under a virtual clock: hours pass in milliseconds, and the same seed gives the same run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, TypeVar

import anyio
import trio.testing

T = TypeVar("T")

LONGEST_S = 3_000.0
"""Virtual seconds after which a run is taken for one that never ends."""


class BrokenPromiseError(BaseException):
    """Found broken in the middle of a run; no guarded edge of the production code may catch it."""


def run(main: Callable[[], Awaitable[T]], *, seed: int = 0) -> T:
    """Run `main` until it returns; `seed` decides in which order tasks run that could run at the same time."""
    scheduling: Any = import_module("trio._core._run")
    scheduling._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001 - what trio keeps for hypothesis
    scheduling._r.seed(seed)  # noqa: SLF001

    async def within_limits() -> T:
        with anyio.fail_after(LONGEST_S):
            return await main()

    clock = trio.testing.MockClock(autojump_threshold=0)
    try:
        return anyio.run(within_limits, backend="trio", backend_options={"clock": clock})
    except (BaseExceptionGroup, BrokenPromiseError) as error:
        first = _first(error)
        if isinstance(first, BrokenPromiseError):
            raise AssertionError(str(first)) from first  # noqa: TRY004 - what hypothesis and pytest expect
        raise first from None


def _first(error: BaseException) -> BaseException:
    """Return the one error that matters: task groups wrap it, once for each of them."""
    group: Any = error
    return _first(group.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
