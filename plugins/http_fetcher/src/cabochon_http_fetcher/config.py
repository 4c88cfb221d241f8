"""What an entry's `config` may say, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from cabochon import schemas
from cabochon.errors import FetchError
from cabochon.urls import masked_url

__all__ = ["FetchConfig", "read_config"]

_PLACE = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<member>.*)`", re.DOTALL)


class FetchConfig(schemas.HttpFetcherConfig, frozen=True, kw_only=True):
    """How to fetch one entry: the peer's members and our additions. Members that it does not know are ignored.

    Attributes:
        timeout: seconds for the request, redirects included; None takes the setting's.
        follow_redirects: False takes a redirect for an error.
        max_redirects: None takes the setting's.
        verify: False takes any certificate of the server.
        ca_file: PEM file, on the agent's machine, to trust instead of what the settings say.
        client_cert: PEM file with the certificate to show.
        client_key: PEM file with its key, if it is not in `client_cert`.
    """

    timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None
    follow_redirects: bool = True
    max_redirects: Annotated[int, msgspec.Meta(ge=0)] | None = None
    verify: bool = True
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


_DEFAULT = FetchConfig()


def read_config(config: Mapping[str, Any], *, url: str) -> FetchConfig:
    """Check an entry's `config`.

    Raises:
        FetchError: a member is wrong, and will be wrong the next time; the message names it.
    """
    if not config:
        return _DEFAULT
    try:
        return msgspec.convert(config, FetchConfig)
    except msgspec.ValidationError as err:
        place = _PLACE.fullmatch(str(err))
        member, reason = (place["member"], place["reason"]) if place else ("", str(err))
        if member == "method":
            reason = "expected one of get, post, put, patch, head, delete, in lower case"
        shown = masked_url(url)
        # What the entry holds stays out of the message, and out of the chain of causes.
        raise FetchError(f"{shown}: config.{member}: {reason}", url=shown, again=False) from None
