"""HttpFetcher: the fetcher for `http` and `https`, whose client is loaded with the first document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from cabochon.contract.fetcher import Fetcher
from cabochon.errors import FetchError
from cabochon.kit.http.reach import Reach
from cabochon.urls import masked_url
from cabochon_http_fetcher.config import read_config
from cabochon_http_fetcher.settings import HttpFetcherSettings

if TYPE_CHECKING:
    from cabochon_http_fetcher.client import WebClient

__all__ = ["HttpFetcher"]


class HttpFetcher(Fetcher):
    """Fetches over HTTP/1.1, with one pool of connections for all entries.

    The client is aiohttp, which runs on asyncio and not on trio. With the certificates to trust it takes 8 MB, so an
    agent that fetches nothing does without.
    """

    def __init__(self, settings: HttpFetcherSettings) -> None:
        self._settings = settings
        self._reach = Reach("OPAL_FETCH", settings.allowed, settings.denied)
        self._methods = frozenset(method.upper() for method in settings.methods)
        self._client: WebClient | None = None
        self._loading = anyio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: HttpFetcherSettings) -> AsyncGenerator[Fetcher]:
        """Open the pool; leaving closes it.

        Raises:
            ConfigurationError: the file of certificates to trust can't be used.
        """
        if settings.ca_file:
            # The system's certificates are always there; these may not be.
            await to_thread.run_sync(settings.client_context)
        fetcher = cls(settings)
        try:
            yield fetcher
        finally:
            if fetcher._client is not None:
                with anyio.CancelScope(shield=True):
                    await fetcher._client.aclose()

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        """Fetch a document; see `FetchConfig` for what `config` may say.

        Raises:
            FetchTimeoutError: it took longer than `timeout`.
            FetchStatusError: the status is none of 2xx; `again` is true for 408, 425, 429 and 5xx.
            FetchDecodeError: the body is too large, or is not what it should be.
            FetchError: the source can't be reached (`again` is true), or the entry can't be fetched at all.
        """
        wanted = read_config(config, url=url)
        if wanted.method.upper() not in self._methods:
            shown = masked_url(url)
            why = f"config.method: {wanted.method} is none of OPAL_FETCH_METHODS, {', '.join(sorted(self._methods))}"
            raise FetchError(f"{shown}: {why}", url=shown, again=False)
        client = self._client or await self._load(url)
        return await client.fetch(url, wanted)

    def avoid(self, urls: Sequence[str]) -> None:
        """Never fetch from these addresses."""
        self._reach.avoid(urls)

    async def _load(self, url: str) -> WebClient:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            shown = masked_url(url)
            raise FetchError(f"{shown}: the fetcher http runs on asyncio alone", url=shown, again=False) from None
        async with self._loading:
            client = self._client
            if client is None:
                # Off the event loop: it takes a tenth of a second.
                module: Any = await to_thread.run_sync(import_module, "cabochon_http_fetcher.client")
                context = await to_thread.run_sync(self._settings.client_context)
                self._client = client = module.WebClient(self._settings, context, self._reach)
            return client
