"""Inline OPA as a service of the agent: up before the first write, gone after the last."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
import structlog

from cabochon import AgentContext, ServiceType
from cabochon.errors import ConfigurationError
from cabochon.kit.http.tls import client_context
from cabochon.kit.process.inline_engine import InlineEngine, running
from cabochon.urls import masked_url
from cabochon_opa.inline.address import ListenAddress, mismatch
from cabochon_opa.inline.binary import find_opa
from cabochon_opa.inline.command_line import opa_arguments
from cabochon_opa.inline.health import require_free, wait_until_up
from cabochon_opa.inline.log_lines import LogReader
from cabochon_opa.inline.settings import InlineOpaSettings

__all__ = ["inline_opa_service", "open_inline_opa"]

log = structlog.get_logger()


def inline_opa_service() -> ServiceType:
    """Offer inline OPA, for the store `OPA` alone."""
    return ServiceType(
        name="inline-opa",
        summary="Runs OPA beside the agent, unless OPAL_INLINE_OPA_ENABLED says no",
        open=open_inline_opa,
        phase="before_store",
        stores=("OPA",),
        settings=InlineOpaSettings,
        addresses=_addresses,
    )


def _addresses(settings: InlineOpaSettings) -> tuple[str, ...]:
    options = settings.inline_options
    addresses = options.addr.split(",") if settings.inline_enabled else ()
    return tuple(ListenAddress.parse(one, tls=options.tls_cert_file is not None).url for one in addresses)


@asynccontextmanager
async def open_inline_opa(settings: InlineOpaSettings, context: AgentContext) -> AsyncGenerator[None]:
    """Run OPA while this is open, if the settings say so; it is up, or slow and the log says so.

    Raises:
        ConfigurationError: there is no OPA, somebody has its address, or it refuses its options.
    """
    if not settings.inline_enabled:
        yield
        return
    options = settings.inline_options
    address = ListenAddress.parse(options.addr, tls=options.tls_cert_file is not None)
    _warn(settings, address)
    command = [str(find_opa(settings.exec_path)), *opa_arguments(settings)]
    await anyio.to_thread.run_sync(require_free, address)
    tls = await anyio.to_thread.run_sync(_tls, settings) if address.scheme == "https" else False
    engine = InlineEngine(
        "OPA",
        command,
        str(address),
        partial(wait_until_up, address, tls),
        partial(LogReader, settings.inline_log_format),
        context.metrics,
        options="OPAL_INLINE_OPA_CONFIG",
    )
    async with running(engine):
        yield


def _warn(settings: InlineOpaSettings, address: ListenAddress) -> None:
    for option in settings.inline_options.model_extra or {}:
        log.warning("inline_opa.option_unknown", variable="OPAL_INLINE_OPA_CONFIG", option=option)
    difference = mismatch(settings.policy_store_url, address)
    if difference is not None:
        log.warning(
            "inline_opa.not_the_store",
            OPAL_POLICY_STORE_URL=masked_url(settings.policy_store_url),
            listens_at=str(address),
            why=f"{difference}: the OPA that we run is not the one that we write to",
        )


def _tls(settings: InlineOpaSettings) -> ssl.SSLContext:
    with_certificate = settings.auth_type == "tls"
    try:
        return client_context(
            verify=False,
            client_cert=settings.tls_client_cert if with_certificate else None,
            client_key=settings.tls_client_key if with_certificate else None,
        )
    except ConfigurationError as err:
        raise ConfigurationError(f"OPAL_POLICY_STORE_TLS_...: {err}") from err
