"""Update callbacks and fetcher configuration, as the peer puts them on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

__all__ = [
    "CallbackEntry",
    "FetcherConfig",
    "HttpFetcherConfig",
    "HttpMethod",
    "UpdateCallback",
    "callback_fault",
]

HttpMethod = Literal["get", "post", "put", "patch", "head", "delete"]


class FetcherConfig(Struct, frozen=True, kw_only=True):
    """What every fetcher's configuration has: `fetcher` names the one to use."""

    fetcher: str | None = None


class HttpFetcherConfig(FetcherConfig, frozen=True, kw_only=True):
    """How to make an HTTP request, for a data source and for a callback alike.

    Attributes:
        headers: sent with the request; never logged.
        is_json: the answer is a JSON document; otherwise its text becomes a JSON string.
        process_data: False takes the answer's text as it is, whatever `is_json` says.
        method: in lower case, as the peer writes it.
        data: the body: a string as it is, an object of strings as a form, anything else as JSON.
    """

    headers: dict[str, str] | None = None
    is_json: bool = True
    process_data: bool = True
    method: HttpMethod = "get"
    data: Any = None


class UpdateCallback(Struct, frozen=True, kw_only=True, gc=False):
    """Who is told how an update went: URLs, `[url, config]` pairs, and the `[url]` of OPAL's documentation."""

    callbacks: tuple[str | tuple[Any, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is neither a URL nor a URL with its configuration."""
        for index, target in enumerate(self.callbacks):
            match target:
                case str() | (str(),) | (str(), dict() | None):
                    continue
                case _:
                    msg = f"callbacks[{index}] must be a URL, [URL] or [URL, config object]"
                    raise ValueError(msg)


class CallbackEntry(Struct, frozen=True, kw_only=True):
    """A registered callback: `key` names it in the register, `config` is an `HttpFetcherConfig` as a JSON object."""

    url: str
    key: str | None = None
    config: dict[str, Any] | None = None


def callback_fault(url: str, config: Mapping[str, Any] | None) -> str | None:
    """Say why nobody could call this over HTTP, None if nothing is wrong; other URLs are their reporters' business.

    Example:
        >>> callback_fault("http://reports.example", {"method": "dance"})
        "Invalid enum value 'dance' - at `$.method`"
    """
    if config is None or not url.lower().startswith(("http://", "https://")):
        return None
    try:
        msgspec.convert({name: value for name, value in config.items() if value is not None}, HttpFetcherConfig)
    except msgspec.ValidationError as err:
        return str(err)
    return None
