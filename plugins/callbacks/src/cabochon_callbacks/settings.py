"""The reporter's settings: in the peer a callback is called by the HTTP fetcher, under the fetcher's variables."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from cabochon.kit.http.reach import Places
from cabochon.kit.http.tls import ClientTlsSettings
from cabochon.settings.model import CommaList, Seconds

__all__ = ["CallbacksSettings"]


class CallbacksSettings(ClientTlsSettings):
    """How every callback is called."""

    timeout: Seconds = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        validation_alias="OPAL_HTTP_FETCHER_TIMEOUT",
        description="Seconds for one request, from connecting to the last byte, redirects included.",
    )
    methods: CommaList = Field(
        default=("GET", "HEAD", "POST", "PUT", "PATCH"),
        validation_alias="OPAL_CALLBACKS_METHODS",
        description="Methods that a callback may ask for: all but DELETE, which delivers nothing.",
    )
    allowed: Places = Field(
        default=(),
        validation_alias="OPAL_CALLBACKS_ALLOWED",
        description="Hosts, networks and schemes that may be called back, as OPAL_FETCH_ALLOWED has them.",
    )
    denied: Places = Field(
        default=(),
        validation_alias="OPAL_CALLBACKS_DENIED",
        description="Hosts, networks and schemes that may not be called back, whatever OPAL_CALLBACKS_ALLOWED says.",
    )
    max_connections: int = Field(
        default=50,
        gt=0,
        validation_alias="OPAL_CALLBACKS_MAX_CONNECTIONS",
        description="How many deliveries may be in flight at the same time; more wait for their turn.",
    )
