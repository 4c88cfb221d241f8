"""The HTTP client: one request after another until there is a document, or an error that says why not."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anyio
from yarl import URL

from cabochon.errors import ConfigurationError, FetchError, FetchTimeoutError
from cabochon.kit.http.failures import network_failure
from cabochon.kit.http.reach import OutOfReachError, Reach
from cabochon.urls import masked_url
from cabochon_http_fetcher.answer import as_json, as_json_string, discard, read_body, status_error
from cabochon_http_fetcher.config import FetchConfig
from cabochon_http_fetcher.held import Held
from cabochon_http_fetcher.request import Request, redirected, request_for
from cabochon_http_fetcher.resolver import CheckedResolver
from cabochon_http_fetcher.settings import HttpFetcherSettings
from cabochon_http_fetcher.trust import Trust

__all__ = ["WebClient"]

_KEEPALIVE_S = 15.0
_LONGEST_HEADER = 65_536
_OK, _REDIRECT = 200, 300


class WebClient:
    """Asks web servers over HTTP/1.1, with one pool of connections for all entries; on asyncio alone."""

    def __init__(self, settings: HttpFetcherSettings, context: ssl.SSLContext, reach: Reach) -> None:
        """Prepare the pool; nothing is sent yet. Call it where an event loop runs."""
        self._reach = reach
        self._settings = settings
        self._held = Held(settings.max_bytes_held)
        self._trust = Trust(context)
        self._proxies = getproxies()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.max_connections,
                keepalive_timeout=_KEEPALIVE_S,
                resolver=CheckedResolver(reach, _addresses(self._proxies.values())),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # The deadline of a fetch is anyio's, redirects included.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            # Unpacked here, so that the limit counts what comes out.
            auto_decompress=False,
            skip_auto_headers=("Content-Type",),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def fetch(self, url: str, wanted: FetchConfig) -> bytes:
        """Fetch a document, as `HttpFetcher.fetch` says."""
        request = request_for(url, wanted)
        shown = masked_url(url)
        timeout_s = wanted.timeout or self._settings.timeout.total_seconds()
        try:
            with anyio.fail_after(timeout_s):
                return await self._follow(request, wanted, shown)
        except ConfigurationError as err:
            raise FetchError(f"{shown}: config: {err}", url=shown, again=False) from err
        except OutOfReachError as err:
            raise FetchError(f"{shown} may not be fetched: {err}", url=shown, again=False) from err
        except (aiohttp.ClientOSError, ssl.SSLError) as err:
            # The cause, since aiohttp's own errors have no words of the system's. They are OSErrors, as a timeout is.
            raise FetchError(f"{shown} can't be reached: {network_failure(err.__cause__ or err)}", url=shown) from err
        except TimeoutError as err:
            raise FetchTimeoutError(f"{shown} gave no whole answer within {timeout_s:g} s", url=shown) from err
        except OSError as err:
            raise FetchError(f"{shown} can't be reached: {network_failure(err)}", url=shown) from err
        except aiohttp.ClientError as err:
            # The words of a protocol error may repeat what was received.
            raise FetchError(
                f"{shown} broke off, or did not answer in HTTP ({type(err).__name__})", url=shown
            ) from None

    async def _follow(self, request: Request, wanted: FetchConfig, shown: str) -> bytes:
        """Send a request and the ones that redirects ask for."""
        context = await self._trust.context(wanted)
        most = self._settings.max_redirects if wanted.max_redirects is None else wanted.max_redirects
        for _ in range((most if wanted.follow_redirects else 0) + 1):
            proxied = self._proxy_for(request.url) if self._proxies else (None, None)
            await self._check(request.url, proxied=proxied[0] is not None)
            async with self._answer(request, context, *proxied) as response:
                if _OK <= response.status < _REDIRECT:
                    return await self._document(response, wanted, shown)
                following = _next(request, response, shown) if wanted.follow_redirects else None
                await discard(response)
                if following is None:
                    raise status_error(request, response, url=shown)
                request = following
        raise FetchError(f"{shown} redirects more than {most} times", url=shown, again=False)

    async def _check(self, url: URL, *, proxied: bool) -> None:
        await self._reach.check_url(url.scheme, url.host or "", url.port or 0, at_a_distance=proxied)

    def _answer(
        self, request: Request, context: ssl.SSLContext, proxy: URL | None, proxy_auth: aiohttp.BasicAuth | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.content,
            ssl=context,
            proxy=proxy,
            proxy_auth=proxy_auth,
            allow_redirects=False,
        )

    def _proxy_for(self, url: URL) -> tuple[URL | None, aiohttp.BasicAuth | None]:
        named = self._proxies.get(url.scheme) or self._proxies.get("all")
        if not named or proxy_bypass(url.host or ""):
            return None, None
        try:
            proxy = URL(named if "://" in named else f"http://{named}")
        except ValueError:
            proxy = URL()
        if proxy.scheme not in {"http", "https"} or not proxy.host:
            raise ConfigurationError(f"the environment's proxy for {url.scheme} can't be used")
        auth = aiohttp.BasicAuth(proxy.user, proxy.password or "", "utf-8") if proxy.user else None
        return proxy.with_user(None), auth

    async def _document(self, response: aiohttp.ClientResponse, wanted: FetchConfig, shown: str) -> bytes:
        with self._held.share() as share:
            body = await read_body(response, share, limit_bytes=self._settings.max_bytes, url=shown)
            if wanted.is_json and wanted.process_data:
                return as_json(body, response, url=shown)
            return as_json_string(body, response)


def _addresses(proxies: Iterable[str]) -> frozenset[tuple[str, int]]:
    """Say where proxies are; what is no URL is said when it is to be used."""
    found: set[tuple[str, int]] = set()
    for proxy in proxies:
        try:
            url = URL(proxy if "://" in proxy else f"http://{proxy}")
        except ValueError:
            continue
        if url.raw_host and url.port:
            found.add((url.raw_host, url.port))
    return frozenset(found)


def _next(request: Request, response: aiohttp.ClientResponse, shown: str) -> Request | None:
    try:
        return redirected(request, response.status, response.headers.get("Location"))
    except ValueError:
        raise FetchError(f"{shown} redirects to what is no HTTP URL", url=shown, again=False) from None
