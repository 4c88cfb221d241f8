"""What the author of a fetcher provides to have it tested."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FetchEntry", "FetchSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchEntry:
    """An entry for the fetcher under test.

    Attributes:
        url: the entry's URL.
        config: the entry's configuration.
        secrets: texts in `url` and `config` that no message and no log may hold.
        blames: what the message about a wrong configuration must name.
    """

    url: str
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: tuple[str, ...] = ()
    blames: str = ""


class FetchSource(ABC):
    """Where the fetcher under test fetches from: the author of a fetcher sets one up, as real as can be.

    Put a password, a token in the URL and whatever else your fetcher knows as a secret into the entries, and list them
    in `FetchEntry.secrets`.
    """

    @abstractmethod
    async def holding(self, document: Any, *, name: str = "document") -> FetchEntry:  # noqa: ANN401 # any JSON
        """Hold `document` under `name`, in place of what was there, and return the entry that fetches it.

        Numbers are as `json_values.decode` gives them; `json_values.encode` writes them.
        """

    @abstractmethod
    async def refusing(self) -> FetchEntry:
        """Return an entry that the source refuses, now and later: an unknown document, a wrong password."""

    @abstractmethod
    async def failing(self) -> FetchEntry:
        """Return an entry whose source is down or overloaded, and may answer later."""

    @abstractmethod
    async def hanging(self) -> FetchEntry:
        """Return an entry whose source never answers, with time enough for the test to cancel it."""

    @abstractmethod
    async def timing_out(self) -> FetchEntry:
        """Return an entry whose source never answers and whose timeout is well under a second."""

    @abstractmethod
    async def misconfigured(self) -> FetchEntry:
        """Return an entry with a wrong member in `config`, named in `blames`."""
