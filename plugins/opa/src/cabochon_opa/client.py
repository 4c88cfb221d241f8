"""The one way to OPA: a pooled HTTP client whose failures say whether OPA may have done what it was asked."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import anyio.to_thread
import httpx
from pydantic import SecretStr

from cabochon.backoff import Backoff
from cabochon.errors import ConfigurationError, StoreUnavailableError
from cabochon.network_failures import network_failure
from cabochon.settings import ConnRetryOptions
from cabochon.tls import client_context
from cabochon.urls import masked_url
from cabochon_opa.auth import BearerToken, ClientCredentials
from cabochon_opa.settings import OpaStoreSettings

__all__ = ["Answer", "AnswerLostError", "OpaClient", "open_client"]

_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout)
_NOT_SENT = (*_NOT_CONNECTED, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_NOT_LET_IN, _SERVER_ERROR = frozenset({401, 403}), 500
_PIECE_BYTES = 1_000_000
_JSON = {"Content-Type": "application/json"}
_CERTIFICATE_ALERT = re.compile(r"ALERT_(?:\w*CERTIFICATE\w*|UNKNOWN_CA)")


class AnswerLostError(StoreUnavailableError):
    """A request was sent and not answered, or answered with 5xx: OPA may have done it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What OPA said: an HTTP status below 500, and the body."""

    status: int
    body: bytes


class OpaClient:
    """Asks OPA over pooled connections, with the operator's credentials.

    Args:
        http: sends the requests.
        name: OPA's address as messages may show it.
        retry: how often to try to connect; once if None.
    """

    def __init__(self, http: httpx.AsyncClient, name: str, retry: ConnRetryOptions | None = None) -> None:
        self._http = http
        self._name = name
        self._attempts = retry.attempts if retry else 1
        self._backoff = _backoff(retry or ConnRetryOptions())

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
            StoreUnavailableError: it can't be reached, or does not let us in (401, 403, our certificate), or there is
                no token for it; nothing was done.
        """
        try:
            answer = await self._send(self._request(method, path, content, headers))
        except _NOT_SENT as err:
            raise StoreUnavailableError(f"OPA at {self._name} can't be reached: {_reason(err)}") from err
        except (httpx.TransportError, ssl.SSLError) as err:
            # With TLS 1.3 a server judges our certificate after the handshake, before it reads a request.
            if _CERTIFICATE_ALERT.search(_reason(err)):
                raise StoreUnavailableError(
                    f"OPA at {self._name} wants a certificate that it trusts: {_reason(err)}; see"
                    " OPAL_POLICY_STORE_TLS_CLIENT_CERT and OPAL_POLICY_STORE_TLS_CLIENT_KEY"
                ) from err
            raise AnswerLostError(f"OPA at {self._name} has not answered {method} {path}: {_reason(err)}") from err
        if answer.status_code in _NOT_LET_IN:
            raise StoreUnavailableError(
                f"OPA at {self._name} refuses our credentials with {answer.status_code}:"
                " see OPAL_POLICY_STORE_AUTH_TYPE and OPA's system.authz policy"
            )
        if answer.status_code >= _SERVER_ERROR:
            raise AnswerLostError(f"OPA at {self._name} answered {method} {path} with {answer.status_code}")
        return Answer(answer.status_code, answer.content)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send it, over a connection that may take several tries to open."""
        for tries in range(1, self._attempts):
            try:
                return await self._http.send(request)
            except _NOT_CONNECTED:
                await anyio.sleep(self._backoff.wait_s(tries))
        return await self._http.send(request)

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] | None
    ) -> httpx.Request:
        request = self._http.build_request(method, path, headers={**_JSON, **(headers or {})})
        if content is not None:
            request.headers["Content-Length"] = str(len(content))
            request.stream = _Body(content)
        return request


class _Body(httpx.AsyncByteStream):
    """A body in pieces, since each is copied on its way with the event loop standing still.

    Not a generator: a call that is cancelled would leave that to the garbage collector.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self._content)


class _Pieces:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._at >= len(self._content):
            raise StopAsyncIteration
        piece = self._content[self._at : self._at + _PIECE_BYTES]
        self._at += _PIECE_BYTES
        return piece


def _backoff(retry: ConnRetryOptions) -> Backoff:
    return Backoff(first_s=retry.wait_time.total_seconds(), longest_s=retry.longest_wait.total_seconds())


def _reason(err: Exception) -> str:
    if isinstance(err, httpx.TimeoutException):
        return "no answer in time"
    reason = network_failure(err)
    return f"{reason}; see OPAL_POLICY_STORE_TLS_CA" if "not trusted" in reason else reason


@asynccontextmanager
async def open_client(settings: OpaStoreSettings) -> AsyncGenerator[OpaClient]:
    """Open the client that the settings describe; nothing is sent yet.

    Raises:
        ConfigurationError: a certificate can't be used.
    """
    url = settings.policy_store_url
    uds = url.removeprefix("unix://") if url.startswith("unix:") else None
    verify = await anyio.to_thread.run_sync(_tls, settings)
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=8)
    seconds = settings.policy_store_timeout.total_seconds()
    async with AsyncExitStack() as stack:
        http = httpx.AsyncClient(
            base_url="http://opa" if uds else url.rstrip("/"),
            auth=await _auth(settings, stack),
            timeout=httpx.Timeout(seconds, connect=min(2.0, seconds)),
            transport=httpx.AsyncHTTPTransport(uds=uds, verify=verify, limits=limits),
        )
        await stack.enter_async_context(http)
        yield OpaClient(http, masked_url(url), settings.conn_retry)


def _tls(settings: OpaStoreSettings) -> ssl.SSLContext:
    """Read the certificates; each wrong file is named by its variable."""
    url = settings.policy_store_url
    named = settings.tls_ca or settings.tls_client_cert
    if url.startswith("unix:") or (url.startswith("http:") and not named):
        # Never used; the system's certificates would take a megabyte. It trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.tls_ca:
        try:
            client_context(ca_file=settings.tls_ca)
        except ConfigurationError as err:
            raise ConfigurationError(f"OPAL_POLICY_STORE_TLS_CA: {err}") from err
    names = "OPAL_POLICY_STORE_TLS_CLIENT_CERT" + (
        ", OPAL_POLICY_STORE_TLS_CLIENT_KEY" if settings.tls_client_key else ""
    )
    try:
        return client_context(
            ca_file=settings.tls_ca, client_cert=settings.tls_client_cert, client_key=settings.tls_client_key
        )
    except ConfigurationError as err:
        raise ConfigurationError(f"{names}: {err}") from err


async def _auth(settings: OpaStoreSettings, stack: AsyncExitStack) -> httpx.Auth | None:
    if settings.auth_type == "token" and settings.auth_token is not None:
        return BearerToken(settings.auth_token)
    if settings.auth_type == "oauth" and settings.oauth_server and settings.oauth_client_id:
        # A client of its own: OPA's socket, certificates and address are not the OAuth server's.
        verify = await anyio.to_thread.run_sync(client_context)
        http = await stack.enter_async_context(httpx.AsyncClient(verify=verify))
        return ClientCredentials(
            http, settings.oauth_server, settings.oauth_client_id, settings.oauth_client_secret or SecretStr("")
        )
    return None
