"""Task groups wrap what their tasks raise; what was raised should reach its reader as the one line that it is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from cabochon.errors import ConfigurationError

__all__ = ["bare_configuration_errors", "configuration_error_in", "described"]


def configuration_error_in(group: BaseExceptionGroup[BaseException]) -> ConfigurationError | None:
    """Return the first configuration error of a group, however deep, if there is nothing else in the group."""
    wrong, others = group.split(ConfigurationError)
    if wrong is None or others is not None:
        return None
    first: ConfigurationError | BaseExceptionGroup[ConfigurationError] = wrong
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


@contextmanager
def bare_configuration_errors() -> Generator[None]:
    """Let a configuration error inside leave without the groups around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        wrong = configuration_error_in(group)
        if wrong is None:
            raise
        raise wrong from None


def described(err: BaseException) -> str:
    """Name an error; a group of them, such as a task group makes, says nothing itself."""
    if isinstance(err, BaseExceptionGroup):
        return "; ".join(described(one) for one in cast("BaseExceptionGroup[BaseException]", err).exceptions)
    return f"{type(err).__name__}: {err}"
