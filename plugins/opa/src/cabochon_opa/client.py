"""The one way to OPA."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cabochon.kit.http.engine import EngineAnswer, EngineHttp, RequestUnansweredError, open_engine_http
from cabochon_opa.settings import OpaStoreSettings

__all__ = ["EngineAnswer", "OpaClient", "RequestUnansweredError", "open_client"]

OpaClient = EngineHttp


@asynccontextmanager
async def open_client(settings: OpaStoreSettings) -> AsyncGenerator[OpaClient]:
    """Open the client that the settings describe; nothing is sent yet.

    Raises:
        ConfigurationError: a certificate can't be used.
    """
    hint = " and OPA's system.authz policy"
    async with open_engine_http(settings, "OPA", settings.policy_store_url, not_let_in=hint) as client:
        yield client
