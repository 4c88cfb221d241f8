"""Deliveries: a callback's configuration made a request, and what its answer means."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated

import httpx
import msgspec

from cabochon import schemas
from cabochon.contract.callback_reporter import Callback
from cabochon.errors import ReportError
from cabochon.kit.http.semantics import HeaderError, WholeBody, header_fields, may_succeed_later, retry_after_s
from cabochon.urls import masked_url

__all__ = ["CallbackConfig", "read_config", "refusal", "request_for"]

_PLACE = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<member>.*)`", re.DOTALL)
_DEFAULTS = (("Accept", "*/*"), ("Content-Type", "application/json"), ("User-Agent", "cabochon-callbacks"))


class CallbackConfig(schemas.HttpFetcherConfig, frozen=True, kw_only=True):
    """How to call: the peer's members, of which `headers` and `method` count here, and `timeout` in seconds."""

    method: schemas.HttpMethod = "post"
    timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None


def read_config(callback: Callback) -> CallbackConfig:
    """Check a callback's configuration.

    Raises:
        ReportError: a member is wrong, and will be wrong the next time; the message names it.
    """
    try:
        return msgspec.convert(callback.config, CallbackConfig)
    except msgspec.ValidationError as err:
        place = _PLACE.fullmatch(str(err))
        member, reason = (place["member"], place["reason"]) if place else ("", str(err))
        if member == "method":
            reason = "expected one of get, post, put, patch, head, delete, in lower case"
        # What the configuration holds stays out of the message, and out of the chain of causes.
        raise ReportError(f"{masked_url(callback.url)}: config.{member}: {reason}", again=False) from None


def request_for(report: bytes, callback: Callback, config: CallbackConfig) -> httpx.Request:
    """Make the request that delivers a report.

    Raises:
        ReportError: the URL or a header can't be sent, now or later.
    """
    try:
        fields = header_fields(config.headers, _DEFAULTS)
    except HeaderError as err:
        raise ReportError(f"{masked_url(callback.url)}: config.headers: {err}", again=False) from err
    try:
        url = httpx.URL(callback.url)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ReportError(f"{masked_url(callback.url)} is no URL to call over HTTP", again=False)
    request = httpx.Request(config.method.upper(), url, headers=fields, content=report)
    request.stream = _Body(report)
    return request


def refusal(request: httpx.Request, status: int, retry_after: str | None) -> ReportError:
    """Say what the receiver answered instead of taking the report."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    again = may_succeed_later(status)
    hint = " (only redirects with 307 and 308 keep the report)" if status in {301, 302, 303} else ""
    return ReportError(
        f"{request.method} {masked_url(str(request.url))} was answered with {status} {phrase}".rstrip() + hint,
        again=again,
        retry_after_s=retry_after_s(retry_after) if again else None,
    )


class _Body(WholeBody, httpx.AsyncByteStream):
    """A body as httpx takes it."""
