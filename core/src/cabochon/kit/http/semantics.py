"""What HTTP's rules (RFC 9110) mean for Cabochon, whichever client library a plugin speaks it with."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["HeaderError", "WholeBody", "header_fields", "may_succeed_later", "retry_after_s"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_SECONDS = re.compile(r"[0-9]{1,9}")
_SERVER_ERROR = 500  # RFC 9110, section 15.6
_OUR_OWN = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class HeaderError(ValueError):
    """A header can't be sent; the message names it, never its value."""


def may_succeed_later(status_code: int) -> bool:
    """Tell whether the same request may succeed later: 408, 425, 429 and 5xx say so, every other error does not."""
    return status_code in {408, 425, 429} or status_code >= _SERVER_ERROR


def retry_after_s(value: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Read the header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.

    Args:
        value: the header's value, or None if there is none.
        now: the time in seconds since the epoch.

    Returns:
        Seconds to wait, 0 for a date in the past, None for no value and for one that makes no sense.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        # An HTTP date is always in UTC; its oldest notation does not say so.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now())
    except (ValueError, OverflowError):
        return None


def header_fields(
    headers: Mapping[str, str] | None, defaults: Iterable[tuple[str, str]] = ()
) -> list[tuple[bytes, bytes]]:
    """Check headers that came from a configuration and encode them for the wire.

    Args:
        headers: names and values as they were configured.
        defaults: sent as well, unless `headers` has one of the same name.

    Raises:
        HeaderError: a name or a value that HTTP does not allow, or a header that the client has to write itself.
    """
    fields: dict[str, tuple[bytes, bytes]] = {}
    for name, value in (*defaults, *(headers or {}).items()):
        if not _NAME.fullmatch(name):
            raise HeaderError(f"{name!r} is no name of a header")
        if name.lower() in _OUR_OWN and name.lower() != "host":
            raise HeaderError(f"the header {name!r} follows from the connection and the body: leave it out")
        if not _VALUE.fullmatch(value.strip(" \t")):
            raise HeaderError(f"the value of the header {name!r} holds a character that HTTP does not allow")
        fields[name.lower()] = (name.encode(), value.strip(" \t").encode())
    return list(fields.values())


class WholeBody:
    """A request's body for a client that iterates over it.

    No generator: one that a cancelled request leaves half-way would have to be cleaned up.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once(AsyncIterator[bytes]):
    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()
