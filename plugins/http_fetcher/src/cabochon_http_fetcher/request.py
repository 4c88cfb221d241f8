"""Requests: made from an entry, and made again for where a redirect leads."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote_to_bytes

import httpx

from cabochon import json_values
from cabochon.errors import FetchError
from cabochon.http_semantics import HeaderError, WholeBody, header_fields
from cabochon.urls import masked_url
from cabochon_http_fetcher.config import HttpFetcherConfig

__all__ = ["redirected", "request_for"]

_DEFAULTS = (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"), ("User-Agent", "cabochon-http-fetcher"))
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OF_THE_BODY = frozenset(
    {"content-encoding", "content-language", "content-length", "content-type", "transfer-encoding"}
)
_NO_SECRETS = _OF_THE_BODY | {"accept", "accept-encoding", "accept-language", "user-agent"}


def request_for(url: str, config: HttpFetcherConfig) -> httpx.Request:
    """Make an entry's request.

    Raises:
        FetchError: the URL or the configuration can't be made a request of, now or later.
    """
    defaults = list(_DEFAULTS)
    content: bytes | None = None
    if isinstance(config.data, str):
        content = config.data.encode("utf-8", "replace")
        defaults.append(("Content-Type", "text/plain; charset=utf-8"))
    elif config.data is not None:
        content = json_values.encode(config.data)
        defaults.append(("Content-Type", "application/json"))
    try:
        target = _web_url(httpx.URL(url))
        if target.userinfo:
            defaults.append(("Authorization", _basic(target.userinfo)))
            target = target.copy_with(userinfo=b"")
        fields = header_fields(config.headers, defaults)
    except HeaderError as err:
        shown = masked_url(url)
        raise FetchError(f"{shown}: config.headers: {err}", url=shown, again=False) from err
    except (httpx.InvalidURL, ValueError) as err:
        shown = masked_url(url)
        raise FetchError(f"{shown} is no URL to fetch over HTTP: {_reason(err)}", url=shown, again=False) from None
    return _request(config.method.upper(), target, fields, content)


def redirected(request: httpx.Request, response: httpx.Response) -> httpx.Request | None:
    """Make the request that a redirect asks for, or None if the answer is no redirect.

    Another origin gets no header that may hold a secret: neither `Authorization` nor any that the entry made up. The
    same host over HTTPS instead of HTTP counts as the same origin. A POST becomes a GET as everywhere (RFC 9110,
    section 15.4); 307 and 308 keep method and body.

    Raises:
        httpx.InvalidURL: it leads to no HTTP URL.
    """
    location = response.headers.get("Location")
    if response.status_code not in _REDIRECTS or location is None:
        return None
    target = _web_url(request.url.join(location)).copy_with(userinfo=b"", fragment=None)
    method, content = request.method, request.content
    headers = request.headers.copy()
    for name in ("Host", "Content-Length"):
        headers.pop(name, None)
    if (response.status_code == 303 and method != "HEAD") or (response.status_code in {301, 302} and method == "POST"):  # noqa: PLR2004
        method, content = "GET", b""
        headers = httpx.Headers([field for field in headers.raw if field[0].lower().decode() not in _OF_THE_BODY])
    if not _same_origin(request.url, target):
        headers = httpx.Headers([field for field in headers.raw if field[0].lower().decode() in _NO_SECRETS])
    return _request(method, target, headers.raw, content or None)


def _request(method: str, url: httpx.URL, fields: list[tuple[bytes, bytes]], content: bytes | None) -> httpx.Request:
    request = httpx.Request(method, url, headers=fields, content=content)
    request.stream = _Body(request.content)
    return request


def _web_url(url: httpx.URL) -> httpx.URL:
    if url.scheme not in {"http", "https"}:
        raise httpx.InvalidURL("its scheme is neither http nor https")
    if not url.host:
        raise httpx.InvalidURL("it names no host")
    return url


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    if one.host != other.host:
        return False
    ports = (_port(one), _port(other))
    return (one.scheme == other.scheme and ports[0] == ports[1]) or (
        (one.scheme, other.scheme) == ("http", "https") and ports == (80, 443)
    )


def _port(url: httpx.URL) -> int:
    return url.port or {"http": 80, "https": 443}[url.scheme]


def _basic(userinfo: bytes) -> str:
    user, _, password = userinfo.partition(b":")
    return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()


def _reason(err: Exception) -> str:
    """Only what was written here: the library's own words repeat the URL."""
    text = str(err)
    return text if text.startswith("it") else "it is malformed"


class _Body(WholeBody, httpx.AsyncByteStream):
    """A body as httpx takes it."""
