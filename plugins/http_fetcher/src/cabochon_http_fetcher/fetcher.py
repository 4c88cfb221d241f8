"""HttpFetcher: one request after another until there is a document, or an error that says why not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from anyio import to_thread

from cabochon.errors import ConfigurationError, FetchError, FetchTimeoutError
from cabochon.fetcher import Fetcher
from cabochon.network_failures import network_failure
from cabochon.urls import masked_url
from cabochon_http_fetcher.answer import as_json, as_json_string, discard, read_body, status_error
from cabochon_http_fetcher.config import HttpFetcherConfig, read_config
from cabochon_http_fetcher.connections import Connections, Tls
from cabochon_http_fetcher.request import redirected, request_for
from cabochon_http_fetcher.settings import HttpFetcherSettings

__all__ = ["HttpFetcher"]


class HttpFetcher(Fetcher):
    """Fetches over HTTP/1.1, with one pool of connections for all entries."""

    def __init__(self, settings: HttpFetcherSettings, connections: Connections) -> None:
        self._settings = settings
        self._connections = connections

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: HttpFetcherSettings) -> AsyncGenerator[Fetcher]:
        """Open the pool; leaving closes it.

        Raises:
            ConfigurationError: the file of certificates to trust can't be used.
        """
        context = await to_thread.run_sync(settings.client_context)
        connections = Connections(context, limit=settings.max_connections)
        try:
            yield cls(settings, connections)
        finally:
            await connections.aclose()

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        """Fetch a document; see `HttpFetcherConfig` for what `config` may say.

        Raises:
            FetchTimeoutError: it took longer than `timeout`.
            FetchStatusError: the status is none of 2xx; `again` is true for 408, 425, 429 and 5xx.
            FetchDecodeError: the body is too large, or is not what it should be.
            FetchError: the source can't be reached (`again` is true), or the entry can't be fetched at all.
        """
        wanted = read_config(config, url=url)
        request = request_for(url, wanted)
        shown = masked_url(url)
        timeout_s = wanted.timeout or self._settings.timeout.total_seconds()
        try:
            with anyio.fail_after(timeout_s):
                return await self._follow(request, wanted, shown)
        except (TimeoutError, httpx.TimeoutException) as err:
            raise FetchTimeoutError(f"{shown} gave no whole answer within {timeout_s:g} s", url=shown) from err
        except ConfigurationError as err:
            raise FetchError(f"{shown}: config: {err}", url=shown, again=False) from err
        except (httpx.NetworkError, OSError) as err:
            # OSError: what TLS refuses after the handshake comes as it is.
            raise FetchError(f"{shown} can't be reached: {network_failure(err)}", url=shown) from err
        except httpx.HTTPError as err:
            # The words of a protocol error may repeat what was received.
            raise FetchError(
                f"{shown} broke off, or did not answer in HTTP ({type(err).__name__})", url=shown
            ) from None

    async def _follow(self, request: httpx.Request, wanted: HttpFetcherConfig, shown: str) -> bytes:
        """Send a request and the ones that redirects ask for."""
        tls = _tls(wanted)
        most = self._settings.max_redirects if wanted.max_redirects is None else wanted.max_redirects
        for _ in range((most if wanted.follow_redirects else 0) + 1):
            async with self._connections.answer(request, tls) as response:
                if response.is_success:
                    return await self._document(response, wanted, shown)
                following = _next(request, response, shown) if wanted.follow_redirects else None
                await discard(response)
                if following is None:
                    raise status_error(request, response, url=shown)
                request = following
        raise FetchError(f"{shown} redirects more than {most} times", url=shown, again=False)

    async def _document(self, response: httpx.Response, wanted: HttpFetcherConfig, shown: str) -> bytes:
        body = await read_body(response, limit_bytes=self._settings.max_bytes, url=shown)
        if wanted.is_json and wanted.process_data:
            return as_json(body, response, url=shown)
        return as_json_string(body, response)


def _next(request: httpx.Request, response: httpx.Response, shown: str) -> httpx.Request | None:
    try:
        return redirected(request, response)
    except (httpx.InvalidURL, ValueError):
        raise FetchError(f"{shown} redirects to what is no HTTP URL", url=shown, again=False) from None


def _tls(wanted: HttpFetcherConfig) -> Tls | None:
    tls = Tls(wanted.verify, wanted.ca_file, wanted.client_cert, wanted.client_key)
    return None if tls == (True, None, None, None) else tls
