"""Answers: read up to a limit, turned into JSON, or into the error that says whether to try again."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from http import HTTPStatus

import aiohttp
from anyio.lowlevel import checkpoint

from cabochon.documents import json_values
from cabochon.documents.off_loop import LARGE_BYTES
from cabochon.errors import FetchDecodeError, FetchError, FetchStatusError
from cabochon.kit.http.semantics import may_succeed_later, retry_after_s
from cabochon_http_fetcher.coding import CodingError, Unpacker, unpackers
from cabochon_http_fetcher.held import Share
from cabochon_http_fetcher.request import Request

__all__ = ["as_json", "as_json_string", "discard", "read_body", "status_error"]

_BOM = b"\xef\xbb\xbf"
_WORTH_DRAINING = 65_536
_TOO_LARGE_AGAIN_S = 60.0
"""What is too large costs the most, and is seldom smaller a moment later."""


async def read_body(response: aiohttp.ClientResponse, share: Share, *, limit_bytes: int, url: str) -> bytes:
    """Read a body to its end, decompressed, holding no more than the limit and one chunk.

    Raises:
        FetchDecodeError: it is too large, or not compressed as it says.
        FetchError: all that is being fetched is too much together.
    """
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes, url)
    coding = response.headers.get("Content-Encoding", "")
    body = _Body(limit_bytes, share)
    try:
        stages = unpackers(coding)
        async for chunk in response.content.iter_any():
            for piece in _unpacked(chunk, stages):
                body.add(piece, url)
                if stages:
                    # A chunk may become a thousand times as much: others have their turn meanwhile.
                    await checkpoint()
        for stage in stages:
            stage.end()
    except CodingError as err:
        shown = coding[:80]
        raise FetchDecodeError(f"{url} answered with a body that is not {shown!r} as it says: {err}", url=url) from err
    return body.whole()


def _too_large(limit_bytes: int, url: str) -> FetchDecodeError:
    return FetchDecodeError(
        f"{url} answered with more than {limit_bytes} bytes (OPAL_HTTP_FETCHER_MAX_BYTES)",
        url=url,
        again=False,
        retry_after_s=_TOO_LARGE_AGAIN_S,
    )


class _Body:
    """What was read so far, as long as it stays within the limits; what does not is let go."""

    def __init__(self, limit_bytes: int, share: Share) -> None:
        self._limit_bytes = limit_bytes
        self._share = share
        self._pieces: list[bytes] = []

    def add(self, piece: bytes, url: str) -> None:
        self._pieces.append(piece)
        if not self._share.add(len(piece)):
            self._pieces.clear()
            msg = f"{url}: more than OPAL_HTTP_FETCHER_MAX_BYTES_HELD are coming at once; it is fetched again later"
            raise FetchError(msg, url=url)
        if self._share.bytes > self._limit_bytes:
            self._pieces.clear()
            raise _too_large(self._limit_bytes, url)

    def whole(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unpacked(chunk: bytes, stages: list[Unpacker]) -> Iterator[bytes]:
    if not stages:
        yield chunk
        return
    for piece in stages[0].unpack(chunk):
        yield from _unpacked(piece, stages[1:])


async def discard(response: aiohttp.ClientResponse) -> None:
    """Read what little is left, so that the connection can be used again; leave it if it is much."""
    left = _WORTH_DRAINING
    async for chunk in response.content.iter_any():
        left -= len(chunk)
        if left < 0:
            return


def as_json(body: bytes, response: aiohttp.ClientResponse, *, url: str) -> bytes:
    """Check that a body is JSON, in UTF-8 or else in the charset that it names; a byte order mark is left out.

    Raises:
        FetchDecodeError: it is not.
    """
    raw = _in_utf8(body, response).removeprefix(_BOM)
    if len(raw) >= LARGE_BYTES:
        # The core checks every document, and large ones off the event loop; here it is only for a better message.
        return raw
    try:
        return json_values.check(raw)
    except json_values.JsonError as err:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        what = f"{len(body)} bytes of {kind[:80]!r}" if body else "an empty body"
        raise FetchDecodeError(f"{url} answered with {what}, which is no JSON: {err}", url=url) from err


def _in_utf8(body: bytes, response: aiohttp.ClientResponse) -> bytes:
    if "charset" not in response.headers.get("Content-Type", "").lower():
        # As most do; taking the header apart costs more than the rest of this.
        return body
    charset = _charset(response)
    if charset in {"utf-8", "utf8"}:
        return body
    try:
        body.decode()
    except UnicodeError:
        # JSON is in UTF-8, whatever charset is named (RFC 8259, section 8.1); only what is not may be in that one.
        try:
            return body.decode(charset).encode()
        except (LookupError, UnicodeError):
            return body
    return body


def _charset(response: aiohttp.ClientResponse) -> str:
    about = Message()
    about["Content-Type"] = response.headers.get("Content-Type", "")
    return about.get_content_charset("utf-8")


def as_json_string(body: bytes, response: aiohttp.ClientResponse) -> bytes:
    """Make a JSON string of a text; bytes that its charset does not know become U+FFFD."""
    try:
        return json_values.encode(body.decode(_charset(response), "replace"))
    except (LookupError, UnicodeError):
        return json_values.encode(body.decode("utf-8", "replace"))


def status_error(request: Request, response: aiohttp.ClientResponse, *, url: str) -> FetchStatusError:
    """Say what the source answered instead of a document."""
    status = response.status
    again = may_succeed_later(status)
    return FetchStatusError(
        f"{request.method} {url} was answered with {status} {_phrase(status)}".rstrip(),
        url=url,
        status_code=status,
        again=again,
        retry_after_s=retry_after_s(response.headers.get("Retry-After")) if again else None,
    )


def _phrase(status: int) -> str:
    """The standard's words: the source's own may say anything."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
