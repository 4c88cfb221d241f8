"""URLs as messages and logs may show them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["host_of", "masked_url"]

_MASK = "***"
_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?:[^:@\[\]\s]*|\[[0-9A-Fa-f:.%]*\])(?::[0-9]*)?")


def masked_url(url: str) -> str:
    """Show where a URL leads without the secrets it may carry.

    User and password are left out, and so is the fragment; every value in the query is masked, its name kept. Text that
    is no URL is shown as far as it can hold no password.

    Example:
        >>> masked_url("https://bob:secret@data.example:8443/users?token=abc&page=2#top")
        'https://data.example:8443/users?token=***&page=***'
    """
    parts = _PARTS.match(url)
    if parts is None:  # pragma: no cover # every part is optional
        return _MASK
    scheme, authority, path, query = parts["scheme"] or "", parts["authority"], parts["path"], parts["query"]
    if scheme:
        authority = authority.rpartition("@")[2]
        if not _HOST.fullmatch(authority):
            # Such as a password with a slash in it: what follows can't be told from it.
            authority, path = _MASK, ""
    elif "@" in authority:
        authority, path = _MASK, ""
    shown = "".join(char if char.isprintable() else f"%{ord(char):02X}" for char in scheme + authority + path)
    return shown if query is None else f"{shown}?{'&'.join(_masked_pair(pair) for pair in query.split('&'))}"


def host_of(url: str) -> str:
    """Name whom a URL leads to, host and port in lower case, so that it gets no more than its share; "" for no URL."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _masked_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={_MASK}" if equals and name.isprintable() else _MASK
