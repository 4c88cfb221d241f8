"""What this plugin offers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

from cabochon import PolicyStore, PolicyStoreType, ServiceType, hookimpl
from cabochon_openfga.inline import inline_openfga_service
from cabochon_openfga.settings import OpenFgaStoreSettings

__all__ = ["cabochon_policy_stores", "cabochon_services"]


@asynccontextmanager
async def open_store(settings: OpenFgaStoreSettings) -> AsyncGenerator[PolicyStore]:
    """Open the store; what asks OpenFGA is imported only now."""
    from cabochon_openfga.open_store import open_openfga_store  # noqa: PLC0415

    async with open_openfga_store(settings) as store:
        yield store


def own_addresses(settings: OpenFgaStoreSettings) -> tuple[str, ...]:
    """Say where OpenFGA answers."""
    return (settings.policy_store_url,)


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    """Offer `OPENFGA`."""
    yield PolicyStoreType(
        name="OPENFGA",
        summary="OpenFGA, over its HTTP API: policies make the model, data the tuples",
        open=open_store,
        settings=OpenFgaStoreSettings,
        addresses=own_addresses,
    )


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    """Offer inline OpenFGA."""
    yield inline_openfga_service()
