"""What a callback reporter is to Cabochon: someone who delivers the report of a data update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["Callback", "CallbackReporter", "CallbackReporterType"]


class Callback(Struct, frozen=True):
    """Who is to be told, and how: `config` is what goes with the URL, its defaults already filled in."""

    url: str
    config: Mapping[str, Any]


class CallbackReporter(ABC):
    """Delivers reports; opened once for the agent's life, called for many deliveries side by side."""

    @abstractmethod
    async def report(self, report: bytes, callback: Callback) -> None:
        """Deliver once: the core retries with backoff, and ends a try at its deadline.

        Args:
            report: a `DataUpdateReport` as JSON.
            callback: the one receiver of this delivery.

        Raises:
            ReportError: with `again` false where the same delivery can't succeed, `retry_after_s` where the receiver
                asked for a pause. The message names URL, status and reason, never a header's value.
        """

    def avoid(self, urls: Sequence[str]) -> None:
        """Never call these addresses, as `Fetcher.avoid` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReporterType:
    """Offer a callback reporter.

    Attributes:
        name: unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and gives an async context manager that yields a reporter.
        schemes: URL schemes of the callbacks it delivers, such as `("http", "https")`.
        settings: the reporter's settings model.
    """

    name: str
    summary: str
    open: Callable[[Any], AbstractAsyncContextManager[CallbackReporter]]
    schemes: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None
