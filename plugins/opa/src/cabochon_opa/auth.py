"""How we prove to OPA who we are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import anyio
import httpx
import msgspec
from pydantic import SecretStr

from cabochon.errors import StoreUnavailableError

__all__ = ["BearerToken", "ClientCredentials"]

_OK, _UNAUTHORIZED = 200, 401
_EARLY_S = 30.0
"""A token is renewed this long before it expires, or at half of its life if that is shorter."""


class BearerToken(httpx.Auth):
    """The same token for every request."""

    def __init__(self, token: SecretStr) -> None:
        self._header = f"Bearer {token.get_secret_value()}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Add the header."""
        request.headers["Authorization"] = self._header
        yield request


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class ClientCredentials(httpx.Auth):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4): one token, renewed before it expires or when OPA says 401."""

    def __init__(self, server: str, client_id: str, client_secret: SecretStr) -> None:
        self._server = server
        self._credentials = httpx.BasicAuth(client_id, client_secret.get_secret_value())
        self._header: str | None = None
        self._renew_at = 0.0
        self._one_at_a_time = anyio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the header, with a token that is fetched first if need be."""
        async with self._one_at_a_time:
            if self._header is None or anyio.current_time() >= self._renew_at:
                self._take((yield self._token_request()))
        request.headers["Authorization"] = used = self._header or ""
        answer = yield request
        if answer.status_code == _UNAUTHORIZED:
            async with self._one_at_a_time:
                if self._header == used:
                    self._take((yield self._token_request()))
            request.headers["Authorization"] = self._header or ""
            yield request

    requires_response_body = True

    def _token_request(self) -> httpx.Request:
        request = httpx.Request("POST", self._server, data={"grant_type": "client_credentials"})
        return next(self._credentials.auth_flow(request))

    def _take(self, answer: httpx.Response) -> None:
        problem = f"it answered with {answer.status_code}"
        if answer.status_code == _OK:
            try:
                token = msgspec.json.decode(answer.content, type=_Token)
            except msgspec.DecodeError as err:
                problem = str(err)
            else:
                life = token.expires_in if token.expires_in is not None else float("inf")
                self._renew_at = anyio.current_time() + max(life - _EARLY_S, life / 2)
                self._header = f"Bearer {token.access_token}"
                return
        raise StoreUnavailableError(f"no token from the OAuth server OPAL_POLICY_STORE_AUTH_OAUTH_SERVER: {problem}")
