"""Call an update source: under a deadline, and whatever goes wrong is the source's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from cabochon.errors import SourceError

__all__ = ["asked"]

T = TypeVar("T")


async def asked(question: Callable[[], Awaitable[T]], *, within_s: float) -> T:
    """Ask a source something.

    Raises:
        SourceError: it can't answer, does not within `within_s` seconds, or breaks.
    """
    try:
        with anyio.fail_after(within_s):
            return await question()
    except SourceError:
        raise
    except TimeoutError as err:
        msg = f"no answer within {within_s:g} s"
        raise SourceError(msg) from err
    except Exception as err:
        msg = f"the update source failed with {type(err).__name__}: {err}"
        raise SourceError(msg) from err
