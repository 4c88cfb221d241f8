"""What this plugin offers: the fetcher for `http` and `https` URLs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from cabochon.contract.fetcher import Fetcher, FetcherType
from cabochon.contract.hookspecs import hookimpl
from cabochon_http_fetcher.settings import HttpFetcherSettings


def open_http_fetcher(settings: HttpFetcherSettings) -> AbstractAsyncContextManager[Fetcher]:
    """Open the fetcher; the HTTP client is imported only now."""
    from cabochon_http_fetcher.fetcher import HttpFetcher  # noqa: PLC0415

    return HttpFetcher.open(settings)


@hookimpl
def cabochon_fetchers() -> Iterable[FetcherType]:
    """Offer the fetcher `http`."""
    yield FetcherType(
        name="http",
        summary="Documents over HTTP and HTTPS",
        open=open_http_fetcher,
        schemes=("http", "https"),
        aliases=("HttpFetchProvider",),
        settings=HttpFetcherSettings,
    )
