"""The fetcher's settings: the peer's variables with the peer's meaning, and limits of our own."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from cabochon.kit.http.reach import Places
from cabochon.kit.http.tls import ClientTlsSettings
from cabochon.settings.model import CommaList, Seconds

__all__ = ["HttpFetcherSettings"]


class HttpFetcherSettings(ClientTlsSettings):
    """How every entry is fetched that does not say otherwise in its `config`."""

    timeout: Seconds = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        validation_alias="OPAL_HTTP_FETCHER_TIMEOUT",
        description="Seconds for one request, from connecting to the last byte, redirects included.",
    )
    max_bytes: int = Field(
        default=128 * 1024 * 1024,
        gt=0,
        validation_alias="OPAL_HTTP_FETCHER_MAX_BYTES",
        description="The largest document that is accepted, in bytes after decompression.",
    )
    max_bytes_held: int = Field(
        default=512 * 1024 * 1024,
        gt=0,
        validation_alias="OPAL_HTTP_FETCHER_MAX_BYTES_HELD",
        description="How many bytes of documents that are still coming may be held, all together; what would be more "
        "is let go, and fetched again later.",
    )
    max_redirects: int = Field(
        default=10,
        ge=0,
        validation_alias="OPAL_HTTP_FETCHER_MAX_REDIRECTS",
        description="How many redirects one request may follow.",
    )
    max_connections: int = Field(
        default=100,
        gt=0,
        validation_alias="OPAL_HTTP_FETCHER_MAX_CONNECTIONS",
        description="How many requests may be in flight at the same time; more wait for their turn.",
    )
    methods: CommaList = Field(
        default=("GET", "POST"),
        validation_alias="OPAL_FETCH_METHODS",
        description="Methods that an entry may ask for by `config.method`: with others, who may publish could change "
        "what it only was to read.",
    )
    allowed: Places = Field(
        default=(),
        validation_alias="OPAL_FETCH_ALLOWED",
        description="Hosts (data.example, *.example:8443), networks (10.0.0.0/8) and schemes (https:) that may be "
        "fetched from, redirects included; unset: all but the agent's own engine, itself, and link-local and metadata "
        "addresses, which are allowed by naming them (the engine and itself with their port). * is everywhere else.",
    )
    denied: Places = Field(
        default=(),
        validation_alias="OPAL_FETCH_DENIED",
        description="Hosts, networks and schemes that may not be fetched from, whatever OPAL_FETCH_ALLOWED says.",
    )
    provider_client: str = Field(
        default="aiohttp",
        validation_alias="OPAL_HTTP_FETCHER_PROVIDER_CLIENT",
        description="Accepted because OPAL has it, and without effect: it is always aiohttp.",
    )
