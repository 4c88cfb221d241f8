"""Libraries that do not come with the core: one line says which extra brings one that is not there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["needs_extra"]


@contextmanager
def needs_extra(extra: str) -> Generator[None]:
    """Import libraries of an extra inside.

    Raises:
        ImportError: one is not installed; the message names it and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        raise ImportError(
            f"{err.name} is not installed: pip install 'cabochon[{extra}]' brings it", name=err.name
        ) from err
