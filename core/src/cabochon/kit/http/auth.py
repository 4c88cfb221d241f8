"""How we prove to an engine who we are, for plugins that reach theirs with httpx.

Nothing of the sync imports it: it needs the extra `cabochon[http]`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Mapping

import anyio
import msgspec
import structlog
from pydantic import SecretStr

from cabochon.errors import StoreUnavailableError
from cabochon.kit.extras import needs_extra
from cabochon.kit.http.failures import network_failure
from cabochon.urls import masked_url

with needs_extra("http"):
    import httpx

__all__ = ["BearerToken", "BearerTokenFile", "ClientCredentials"]

log = structlog.get_logger()

_OK, _UNAUTHORIZED = 200, 401
_EARLY_S = 30.0
"""A token is renewed this long before it expires, or at half of its life if that is shorter."""
_AGAIN_S = 5.0
"""A renewal that failed is tried again after this long, as long as the token is still good."""
_REFUSED_AGAIN_S = 10.0
"""A token that the engine refuses is renewed no more often than this: another one may not help."""
_PATIENCE_S = 5.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_HEADERS = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


class BearerToken(httpx.Auth):
    """The same token for every request."""

    def __init__(self, token: SecretStr) -> None:
        self._header = f"Bearer {token.get_secret_value()}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Add the header."""
        request.headers["Authorization"] = self._header
        yield request


class BearerTokenFile(httpx.Auth):
    """The token that a file holds, read again when the engine answers 401: a new one needs no restart.

    Args:
        path: the file; white space around the token does not count.
    """

    def __init__(self, path: str) -> None:
        self._path = anyio.Path(path)
        self._header = ""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the header; once more with what the file holds by then, if the engine refuses it.

        Raises:
            StoreUnavailableError: the file holds no token.
        """
        if not self._header:
            self._header = await self._read()
        request.headers["Authorization"] = sent = self._header
        answer = yield request
        if answer.status_code == _UNAUTHORIZED:
            self._header = await self._read()
            if self._header != sent:
                request.headers["Authorization"] = self._header
                yield request

    async def _read(self) -> str:
        try:
            token = (await self._path.read_text("ascii")).strip()
        except (OSError, UnicodeDecodeError) as err:
            why = err.strerror if isinstance(err, OSError) else "it is not ASCII"
            raise StoreUnavailableError(f"no token for the policy store in {self._path}: {why}") from err
        if not _TOKEN.fullmatch(token):
            raise StoreUnavailableError(f"no token for the policy store in {self._path}: it should hold one word")
        return f"Bearer {token}"


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None

    @property
    def life_s(self) -> float:
        """Seconds until it expires; some servers write them as text."""
        try:
            return float("inf") if self.expires_in is None else max(0.0, float(self.expires_in))
        except ValueError:
            return 0.0


class _NoTokenError(Exception):
    """The OAuth server gives no token; the message says why, without a secret."""


class _OAuthError(msgspec.Struct):
    error: str = ""


class ClientCredentials(httpx.Auth):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4): one token for all requests, renewed before it expires.

    It is renewed too when the engine answers 401, and the request sent once more. A renewal that fails does no harm
    while the token is good.

    Args:
        http: asks the OAuth server. Not the engine's client, which has the engine's socket, certificates and address.
        server: URL of the token endpoint.
        client_id: who we are there.
        client_secret: its secret.
        more: members of the request for a token beside `grant_type`, such as `audience`.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        server: str,
        client_id: str,
        client_secret: SecretStr,
        *,
        more: Mapping[str, str] | None = None,
        now: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._http = http
        self._server = server
        self._credentials = httpx.BasicAuth(client_id, client_secret.get_secret_value())
        self._form = {"grant_type": "client_credentials", **(more or {})}
        self._now = now
        self._one_at_a_time = anyio.Lock()
        self._header = ""
        self._renew_at = self._expires_at = self._refused_until = float("-inf")
        self._tries = 0
        self._problem: str | None = None

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the header, with a token that is fetched first if need be.

        Raises:
            StoreUnavailableError: the OAuth server gives none.
        """
        if self._now() >= self._renew_at:
            await self._renew(self._tries)
            if self._problem and self._now() >= self._expires_at:
                raise StoreUnavailableError(self._problem)
        tries = self._tries
        request.headers["Authorization"] = self._header
        answer = yield request
        if answer.status_code == _UNAUTHORIZED and await self._replaced(tries):
            request.headers["Authorization"] = self._header
            yield request

    async def _replaced(self, tries: int) -> bool:
        """Fetch a token in place of a refused one, unless that has been done; True if there is another."""
        if self._tries == tries:
            if self._now() < self._refused_until:
                return False
            self._refused_until = self._now() + _REFUSED_AGAIN_S
            await self._renew(tries)
        if self._problem:
            raise StoreUnavailableError(self._problem)
        return True

    async def _renew(self, tries: int) -> None:
        """Ask for a token, unless somebody has asked since `tries`: what became of that counts for all who waited."""
        async with self._one_at_a_time:
            if self._tries != tries:
                return
            # Not cut short by the caller's deadline: a slow OAuth server would never get to give a token.
            with anyio.CancelScope(shield=True):
                self._problem = await self._ask()
            self._tries += 1
            if self._problem and self._now() < self._expires_at:
                log.warning("policy_store.token_not_renewed", error=self._problem)
                self._renew_at = min(self._now() + _AGAIN_S, self._expires_at)

    async def _ask(self) -> str | None:
        """Ask the OAuth server for a token and take it; return what is wrong if there is none."""
        try:
            self._take(await self._post())
        except _NoTokenError as err:
            server = masked_url(self._server)
            return (
                f"no token for the policy store from the OAuth server {server}: {err};"
                " see OPAL_POLICY_STORE_AUTH_OAUTH_..."
            )
        return None

    async def _post(self) -> httpx.Response:
        try:
            with anyio.fail_after(_PATIENCE_S):
                return await self._http.post(self._server, data=self._form, headers=_HEADERS, auth=self._credentials)
        except (TimeoutError, httpx.TimeoutException) as err:
            raise _NoTokenError("it does not answer in time") from err
        except (httpx.HTTPError, ssl.SSLError) as err:
            raise _NoTokenError(f"it can't be reached: {network_failure(err)}") from err

    def _take(self, answer: httpx.Response) -> None:
        if answer.status_code != _OK:
            raise _NoTokenError(f"it answered with {answer.status_code}{_code(answer)}")
        try:
            token = msgspec.json.decode(answer.content, type=_Token)
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise _NoTokenError("it answered with no JSON object that has an access_token") from err
        if not _TOKEN.fullmatch(token.access_token):
            raise _NoTokenError("its access_token can't be sent in a header")
        life = token.life_s
        self._header = f"Bearer {token.access_token}"
        self._expires_at = self._now() + life
        self._renew_at = self._now() + max(life - _EARLY_S, life / 2)


def _code(answer: httpx.Response) -> str:
    """Return the error code of RFC 6749; what else stands in an answer may repeat secrets."""
    try:
        code = msgspec.json.decode(answer.content, type=_OAuthError).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f" {code}" if _ERROR_CODE.fullmatch(code) else ""
