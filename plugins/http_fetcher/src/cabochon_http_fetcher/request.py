"""Requests: made from an entry, and made again for where a redirect leads."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import quote, unquote_to_bytes, urlencode, urljoin, urlsplit

from yarl import URL

from cabochon.documents import json_values
from cabochon.errors import FetchError
from cabochon.kit.http.semantics import HeaderError, header_fields
from cabochon.urls import masked_url
from cabochon_http_fetcher.config import FetchConfig

__all__ = ["Request", "redirected", "request_for"]

_DEFAULTS = (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"), ("User-Agent", "cabochon-http-fetcher"))
_FORM = "application/x-www-form-urlencoded"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OF_THE_BODY = frozenset({"content-encoding", "content-language", "content-type"})
_NO_SECRETS = _OF_THE_BODY | {"accept", "accept-encoding", "accept-language", "user-agent"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AS_IT_IS = "!$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the entry wants it; what follows from connection and body is added when it is sent.

    Attributes:
        method: in upper case.
        url: without user, password and fragment.
        headers: names and values; `Host` only if it is not the URL's.
        content: the body, if there is one.
    """

    method: str
    url: URL
    headers: tuple[tuple[str, str], ...]
    content: bytes | None = None


def request_for(url: str, config: FetchConfig) -> Request:
    """Make an entry's request.

    Raises:
        FetchError: the URL or the configuration can't be made a request of, now or later.
    """
    defaults = list(_DEFAULTS)
    content: bytes | None = None
    if isinstance(config.data, str):
        content = config.data.encode("utf-8", "replace")
        defaults.append(("Content-Type", "text/plain; charset=utf-8"))
    elif _is_form(config):
        content = urlencode(config.data).encode()
        defaults.append(("Content-Type", _FORM))
    elif config.data is not None:
        content = json_values.encode(config.data)
        defaults.append(("Content-Type", "application/json"))
    try:
        target, authorization = _web_url(url)
        if authorization:
            defaults.append(("Authorization", authorization))
        fields = header_fields(config.headers, defaults)
    except HeaderError as err:
        shown = masked_url(url)
        raise FetchError(f"{shown}: config.headers: {err}", url=shown, again=False) from err
    except ValueError as err:
        shown = masked_url(url)
        raise FetchError(f"{shown} is no URL to fetch over HTTP: {_reason(err)}", url=shown, again=False) from None
    headers = tuple((name.decode(), value.decode()) for name, value in fields)
    return Request(config.method.upper(), target, headers, content)


def redirected(request: Request, status: int, location: str | None) -> Request | None:
    """Make the request that a redirect asks for, or None if an answer with this status and `Location` is no redirect.

    Another origin gets no header that may hold a secret: neither `Authorization` nor any that the entry made up. The
    same host over HTTPS instead of HTTP counts as the same origin. A POST becomes a GET as everywhere (RFC 9110,
    section 15.4); 307 and 308 keep method and body.

    Raises:
        ValueError: it leads to no HTTP URL.
    """
    if status not in _REDIRECTS or location is None:
        return None
    target, _ = _web_url(urljoin(str(request.url), location))
    method, content = request.method, request.content
    headers = [field for field in request.headers if field[0].lower() != "host"]
    if (status == HTTPStatus.SEE_OTHER and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, content = "GET", None
        headers = [field for field in headers if field[0].lower() not in _OF_THE_BODY]
    if not _same_origin(request.url, target):
        headers = [field for field in headers if field[0].lower() in _NO_SECRETS]
    return Request(method, target, tuple(headers), content)


def _is_form(config: FetchConfig) -> bool:
    """Tell whether the body is an object of strings, which goes as a form, and no header asks for anything else."""
    data = cast("object", config.data)
    if not isinstance(data, dict):
        return False
    values = cast("dict[str, object]", data).values()
    asked_for = [value for name, value in (config.headers or {}).items() if name.lower() == "content-type"]
    return all(isinstance(value, str) for value in values) and all(
        value.partition(";")[0].strip().lower() == _FORM for value in asked_for
    )


def _web_url(text: str) -> tuple[URL, str | None]:
    """Take a URL apart: where it leads, and `Authorization` for its user and password.

    Path and query are sent as they were written, since a signature may stand in them: only what a URL can't hold is
    escaped. The library would unescape what needs no escaping.

    Raises:
        ValueError: it is no HTTP URL.
    """
    if _CONTROL.search(text):
        raise ValueError("it holds a control character")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("its scheme is neither http nor https")
    if not parts.hostname:
        raise ValueError("it names no host")
    host = URL.build(scheme=parts.scheme, host=parts.hostname, port=parts.port)
    path, query = quote(parts.path, _AS_IT_IS), quote(parts.query, _AS_IT_IS)
    url = URL(f"{parts.scheme}://{host.raw_authority}{path or '/'}{'?' if query else ''}{query}", encoded=True)
    return url, _basic(parts.username, parts.password) if parts.username is not None else None


def _same_origin(one: URL, other: URL) -> bool:
    if one.raw_host != other.raw_host:
        return False
    return (one.scheme == other.scheme and one.port == other.port) or (
        (one.scheme, other.scheme, one.port, other.port) == ("http", "https", 80, 443)
    )


def _basic(user: str, password: str | None) -> str:
    return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password or "")).decode()


def _reason(err: Exception) -> str:
    """Only what was written here: the library's own words repeat the URL."""
    text = str(err)
    return text if text.startswith("it") else "it is malformed"
