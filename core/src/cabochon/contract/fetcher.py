"""What a fetcher is to Cabochon: something that turns a URL and a configuration into raw JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["Fetcher", "FetcherType"]


class Fetcher(ABC):
    """A way to fetch, opened once for the agent's life (one pooled client) and used for many fetches side by side."""

    @abstractmethod
    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        """Fetch one document, once: the core retries, and ends it at the update's deadline.

        Args:
            url: as the entry has it.
            config: the entry's configuration as a JSON object, `{}` if it has none. Check it and say what is wrong.

        Returns:
            Raw JSON in UTF-8. The core checks that it is JSON before it goes anywhere.

        Raises:
            FetchError: with `again` false where the same fetch can't succeed (a refusal, a bad configuration),
                `retry_after_s` where the source asked for a pause. The message names the URL, the status and the
                reason, never a header's value.
        """

    def avoid(self, urls: Sequence[str]) -> None:
        """Never fetch from these addresses: they are the agent's own, and its engine's.

        Whoever publishes an update would write into the engine with the agent's rights. Called once, before the first
        fetch; compare addresses, and not only names. A fetcher that asks nothing over the network has nothing to do.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherType:
    """Offer a fetcher.

    Attributes:
        name: what an entry writes in `config.fetcher`; unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and gives an async context manager that yields a fetcher.
        schemes: URL schemes it is used for when an entry names no fetcher, such as `("http", "https")`.
        aliases: other names it answers to, such as the peer's class name.
        settings: the fetcher's settings model.
    """

    name: str
    summary: str
    open: Callable[[Any], AbstractAsyncContextManager[Fetcher]]
    schemes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None
