"""The one way to OPA: a pooled HTTP client whose failures say whether OPA may have done what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import anyio.to_thread
import httpx

from cabochon.errors import ConfigurationError, StoreUnavailableError
from cabochon.tls import client_context
from cabochon.urls import masked_url
from cabochon_opa.auth import BearerToken, ClientCredentials
from cabochon_opa.settings import OpaStoreSettings

__all__ = ["Answer", "AnswerLostError", "OpaClient", "open_client"]

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_NOT_LET_IN, _SERVER_ERROR = frozenset({401, 403}), 500
_JSON = {"Content-Type": "application/json"}


class AnswerLostError(StoreUnavailableError):
    """A request was sent and not answered, or answered with 5xx: OPA may have done it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What OPA said: an HTTP status below 500, and the body."""

    status: int
    body: bytes


class OpaClient:
    """Asks OPA over pooled connections, with the operator's credentials."""

    def __init__(self, http: httpx.AsyncClient, name: str) -> None:
        self._http = http
        self._name = name

    async def ask(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and return the answer.

        Args:
            method: the HTTP method.
            path: below OPA's address, escaped, with its query: `/v1/data/users%2Fbob?metrics=true`.
            content: the body, sent as JSON unless `headers` say otherwise.
            headers: more headers.

        Raises:
            AnswerLostError: OPA may or may not have done it.
            StoreUnavailableError: it can't be reached, or lets us in no more (401, 403); nothing was done.
        """
        try:
            answer = await self._http.send(self._request(method, path, content, headers))
        except _NOT_SENT as err:
            raise StoreUnavailableError(f"OPA at {self._name} can't be reached: {_reason(err)}") from err
        except httpx.TransportError as err:
            raise AnswerLostError(f"OPA at {self._name} has not answered {method} {path}: {_reason(err)}") from err
        if answer.status_code in _NOT_LET_IN:
            raise StoreUnavailableError(
                f"OPA at {self._name} refuses our credentials with {answer.status_code}:"
                " see OPAL_POLICY_STORE_AUTH_TYPE and OPA's system.authz policy"
            )
        if answer.status_code >= _SERVER_ERROR:
            raise AnswerLostError(f"OPA at {self._name} answered {method} {path} with {answer.status_code}")
        return Answer(answer.status_code, answer.content)

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] | None
    ) -> httpx.Request:
        request = self._http.build_request(method, path, headers={**_JSON, **(headers or {})})
        if content is not None:
            request.headers["Content-Length"] = str(len(content))
            request.stream = _Body(content)
        return request


class _Body(httpx.AsyncByteStream):
    """A body in one piece. Not a generator: a call that is cancelled would leave that to the garbage collector."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    def __init__(self, content: bytes) -> None:
        self._left: bytes | None = content

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece, self._left = self._left, None
        if piece is None:
            raise StopAsyncIteration
        return piece


def _reason(err: Exception) -> str:
    return str(err) or type(err).__name__


@asynccontextmanager
async def open_client(settings: OpaStoreSettings) -> AsyncGenerator[OpaClient]:
    """Open the client that the settings describe; nothing is sent yet.

    Raises:
        ConfigurationError: a certificate can't be used.
    """
    url = settings.policy_store_url
    uds = url.removeprefix("unix://") if url.startswith("unix:") else None
    verify = True if uds else await anyio.to_thread.run_sync(_tls, settings)
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=8)
    seconds = settings.policy_store_timeout.total_seconds()
    async with httpx.AsyncClient(
        base_url="http://opa" if uds else url.rstrip("/"),
        auth=_auth(settings),
        timeout=httpx.Timeout(seconds, connect=min(2.0, seconds)),
        transport=httpx.AsyncHTTPTransport(uds=uds, verify=verify, limits=limits),
    ) as http:
        yield OpaClient(http, masked_url(url))


def _tls(settings: OpaStoreSettings):  # noqa: ANN202 - what `client_context` gives
    with_certificate = settings.auth_type == "tls"
    try:
        return client_context(
            ca_file=settings.tls_ca,
            client_cert=settings.tls_client_cert if with_certificate else None,
            client_key=settings.tls_client_key if with_certificate else None,
        )
    except ConfigurationError as err:
        raise ConfigurationError(f"OPAL_POLICY_STORE_TLS_...: {err}") from err


def _auth(settings: OpaStoreSettings) -> httpx.Auth | None:
    if settings.auth_type == "token" and settings.auth_token is not None:
        return BearerToken(settings.auth_token)
    if settings.auth_type == "oauth" and settings.oauth_server and settings.oauth_client_id:
        return ClientCredentials(settings.oauth_server, settings.oauth_client_id, settings.oauth_client_secret)
    return None
