"""One way to any engine that speaks HTTP: a pooled client whose failures say whether the engine may have done it.

For plugins that reach theirs with httpx: nothing of the sync imports it, and it needs the extra `cabochon[http]`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import anyio.to_thread
from pydantic import SecretStr

from cabochon.backoff import Backoff
from cabochon.errors import AnswerLostError, StoreUnavailableError
from cabochon.kit.extras import needs_extra
from cabochon.kit.http.auth import BearerToken, BearerTokenFile, ClientCredentials
from cabochon.kit.http.failures import network_failure
from cabochon.kit.http.store_connection import StoreConnectionSettings
from cabochon.kit.http.tls import client_context
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.urls import masked_url

with needs_extra("http"):
    import httpx

__all__ = ["EngineAnswer", "EngineHttp", "RequestUnansweredError", "open_engine_http"]

_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout)
_NOT_SENT = (*_NOT_CONNECTED, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_NOT_LET_IN, _SERVER_ERROR = frozenset({401, 403}), 500
_PIECE_BYTES = 1_000_000
_JSON = {"Content-Type": "application/json"}
_CERTIFICATE_ALERT = re.compile(r"ALERT_(?:\w*CERTIFICATE\w*|UNKNOWN_CA)")


class RequestUnansweredError(AnswerLostError, StoreUnavailableError):
    """A request was sent and not answered, or answered with 5xx: the engine may have done it.

    For a question that is as good as an engine that can't be reached; for a commit, the answer is lost.
    """


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """What the engine said: an HTTP status below 500, and the body."""

    status: int
    body: bytes


class EngineHttp:
    """Asks an engine over pooled connections, with the operator's credentials.

    Args:
        http: sends the requests.
        name: the engine and its address as messages may show them.
        retry: how often to try to connect; once if None.
        not_let_in: what else to look at when the engine refuses our credentials.
    """

    def __init__(
        self, http: httpx.AsyncClient, name: str, retry: ConnRetryOptions | None = None, *, not_let_in: str = ""
    ) -> None:
        self._http = http
        self._name = name
        self._not_let_in = not_let_in
        self._attempts = retry.attempts if retry else 1
        self._backoff = _backoff(retry or ConnRetryOptions())

    async def ask(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> EngineAnswer:
        """Send one request and return the answer.

        Args:
            method: the HTTP method.
            path: below the engine's address, escaped, with its query: `/v1/data/users%2Fbob?metrics=true`.
            content: the body, sent as JSON unless `headers` say otherwise.
            headers: more headers.

        Raises:
            RequestUnansweredError: the engine may or may not have done it.
            StoreUnavailableError: it can't be reached, or does not let us in (401, 403, our certificate), or there is
                no token for it; nothing was done.
        """
        try:
            answer = await self._send(self._request(method, path, content, headers))
        except _NOT_SENT as err:
            raise StoreUnavailableError(f"{self._name} can't be reached: {_reason(err)}") from err
        except (httpx.TransportError, ssl.SSLError) as err:
            # With TLS 1.3 a server judges our certificate after the handshake, before it reads a request.
            if _CERTIFICATE_ALERT.search(_reason(err)):
                raise StoreUnavailableError(
                    f"{self._name} wants a certificate that it trusts: {_reason(err)}; see"
                    " OPAL_POLICY_STORE_TLS_CLIENT_CERT and OPAL_POLICY_STORE_TLS_CLIENT_KEY"
                ) from err
            raise RequestUnansweredError(f"{self._name} has not answered {method} {path}: {_reason(err)}") from err
        if answer.status_code in _NOT_LET_IN:
            raise StoreUnavailableError(
                f"{self._name} refuses our credentials with {answer.status_code}:"
                f" see OPAL_POLICY_STORE_AUTH_TYPE{self._not_let_in}"
            )
        if answer.status_code >= _SERVER_ERROR:
            raise RequestUnansweredError(f"{self._name} answered {method} {path} with {answer.status_code}")
        return EngineAnswer(answer.status_code, answer.content)

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
async def open_engine_http(
    settings: StoreConnectionSettings,
    engine: str,
    url: str,
    *,
    not_let_in: str = "",
    oauth: Mapping[str, str] | None = None,
) -> AsyncGenerator[EngineHttp]:
    """Open the client that the settings describe; nothing is sent yet.

    Args:
        settings: how to ask.
        engine: its name, for messages.
        url: where it answers; `unix:///path` for a socket.
        not_let_in: what else to look at when it refuses our credentials.
        oauth: more members of a request for a token, see `ClientCredentials`.

    Raises:
        ConfigurationError: a certificate can't be used.
    """
    uds = url.removeprefix("unix://") if url.startswith("unix:") else None
    verify = await anyio.to_thread.run_sync(_tls, settings, url)
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=8)
    seconds = settings.policy_store_timeout.total_seconds()
    async with AsyncExitStack() as stack:
        http = httpx.AsyncClient(
            base_url="http://engine" if uds else url.rstrip("/"),
            auth=await _auth(settings, oauth or {}, stack),
            timeout=httpx.Timeout(seconds, connect=min(2.0, seconds)),
            transport=httpx.AsyncHTTPTransport(uds=uds, verify=verify, limits=limits),
        )
        await stack.enter_async_context(http)
        yield EngineHttp(http, f"{engine} at {masked_url(url)}", settings.conn_retry, not_let_in=not_let_in)


def _tls(settings: StoreConnectionSettings, url: str) -> ssl.SSLContext:
    named = settings.tls_ca or settings.tls_client_cert
    if url.startswith("unix:") or (url.startswith("http:") and not named):
        # Never used; the system's certificates would take a megabyte. It trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return settings.tls_context()


async def _auth(
    settings: StoreConnectionSettings, oauth: Mapping[str, str], stack: AsyncExitStack
) -> httpx.Auth | None:
    if settings.auth_type == "token" and settings.auth_token_file is not None:
        return BearerTokenFile(settings.auth_token_file)
    if settings.auth_type == "token" and settings.auth_token is not None:
        return BearerToken(settings.auth_token)
    if settings.auth_type == "oauth" and settings.oauth_server and settings.oauth_client_id:
        # A client of its own: the engine's socket, certificates and address are not the OAuth server's.
        verify = await anyio.to_thread.run_sync(client_context)
        http = await stack.enter_async_context(httpx.AsyncClient(verify=verify))
        secret = settings.oauth_client_secret or SecretStr("")
        return ClientCredentials(http, settings.oauth_server, settings.oauth_client_id, secret, more=oauth)
    return None
