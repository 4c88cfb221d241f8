"""HttpCallbackReporter: one request for each report and receiver."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpx
from anyio import to_thread

from cabochon.contract.callback_reporter import Callback, CallbackReporter
from cabochon.errors import ReportError
from cabochon.kit.http.failures import network_failure
from cabochon.kit.http.reach import OutOfReachError, Reach
from cabochon.urls import masked_url
from cabochon_callbacks.bounds import check_before
from cabochon_callbacks.delivery import read_config, refusal, request_for
from cabochon_callbacks.settings import CallbacksSettings

__all__ = ["HttpCallbackReporter"]

_REDIRECTS = 5
_WORTH_DRAINING = 65_536
_DRAIN_S = 1.0
_KEEPS_THE_REPORT = frozenset({307, 308})
_NO_SECRETS = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})


class HttpCallbackReporter(CallbackReporter):
    """Calls callbacks over HTTP, with one pool of connections for all."""

    def __init__(self, settings: CallbacksSettings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._reach = Reach("OPAL_CALLBACKS", settings.allowed, settings.denied)
        self._methods = frozenset(method.upper() for method in settings.methods)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: CallbacksSettings) -> AsyncGenerator[CallbackReporter]:
        """Open the pool; leaving closes it.

        Raises:
            ConfigurationError: the file of certificates to trust can't be used.
        """
        context = await to_thread.run_sync(settings.client_context)
        async with httpx.AsyncClient(
            verify=context,
            # The whole delivery has one deadline, below; no single step is waited for longer.
            timeout=httpx.Timeout(None),
            limits=httpx.Limits(
                max_connections=settings.max_connections, max_keepalive_connections=settings.max_connections
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=True,
        ) as client:
            yield cls(settings, client)

    def avoid(self, urls: Sequence[str]) -> None:
        """Never call these addresses."""
        self._reach.avoid(urls)

    async def report(self, report: bytes, callback: Callback) -> None:
        """Deliver a report as the body of a request; 2xx means that it was taken.

        Raises:
            ReportError: `again` is true for 408, 425, 429, 5xx, a timeout and a connection that failed.
        """
        config = read_config(callback)
        shown = masked_url(callback.url)
        if config.method.upper() not in self._methods:
            why = f"{config.method} is none of OPAL_CALLBACKS_METHODS, {', '.join(sorted(self._methods))}"
            raise ReportError(f"{shown}: config.method: {why}", again=False)
        request = request_for(report, callback, config)
        timeout_s = config.timeout or self._settings.timeout.total_seconds()
        try:
            with anyio.fail_after(timeout_s):
                await self._send(request, shown)
        except OutOfReachError as err:
            raise ReportError(f"{shown} may not be called: {err}", again=False) from err
        except (TimeoutError, httpx.TimeoutException) as err:
            raise ReportError(f"{shown} gave no answer within {timeout_s:g} s") from err
        except (httpx.NetworkError, OSError) as err:
            # OSError: what TLS refuses after the handshake comes as it is.
            raise ReportError(f"{shown} can't be reached: {network_failure(err)}") from err
        except httpx.HTTPError as err:
            # The words of a protocol error may repeat what was received.
            raise ReportError(f"{shown} broke off, or did not answer in HTTP ({type(err).__name__})") from None

    async def _send(self, request: httpx.Request, shown: str) -> None:
        """Send a request, and send it on where 307 or 308 lead: any other redirect would lose the report."""
        for _ in range(_REDIRECTS + 1):
            await check_before(request, self._reach)
            # Streamed: nothing in the answer's body matters, however long it is.
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                if response.is_success:
                    return
                following = response.next_request
                if response.status_code not in _KEEPS_THE_REPORT or following is None:
                    raise refusal(request, response.status_code, response.headers.get("Retry-After"))
            finally:
                await _leave(response)
            request = _carried_on(request, following)
        raise ReportError(f"{shown} redirects more than {_REDIRECTS} times", again=False)


async def _leave(response: httpx.Response) -> None:
    """Read the little that is left of an answer, so that the connection can be used again; cut off what is more.

    Whatever goes wrong here, the answer's status stands.
    """
    left = _WORTH_DRAINING
    received = response.aiter_raw()
    with suppress(httpx.HTTPError, OSError):
        with anyio.move_on_after(_DRAIN_S):
            async for chunk in received:
                left -= len(chunk)
                if left < 0:
                    break
    if not response.is_closed:
        await response.aclose()
        # Reading on from a closed connection ends the client's chain of generators, which closing one would not.
        with suppress(httpx.HTTPError, httpx.StreamError, OSError):
            async for _ in received:
                pass


def _carried_on(request: httpx.Request, following: httpx.Request) -> httpx.Request:
    """The same report to where a redirect leads; another origin gets no header that may hold a secret."""
    one, other = request.url, following.url
    if (one.scheme, one.host, one.port) != (other.scheme, other.host, other.port):
        for name in set(following.headers) - _NO_SECRETS - {"host", "content-length"}:
            del following.headers[name]
    return following
