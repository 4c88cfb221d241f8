"""What this plugin offers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

from cabochon import PolicyStore, PolicyStoreType, hookimpl
from cabochon_openfga.settings import OpenFgaStoreSettings

__all__ = ["cabochon_policy_stores"]


@asynccontextmanager
async def open_store(settings: OpenFgaStoreSettings) -> AsyncGenerator[PolicyStore]:
    """Open the store; what asks OpenFGA is imported only now."""
    from cabochon_openfga.opening import open_openfga_store  # noqa: PLC0415

    async with open_openfga_store(settings) as store:
        yield store


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    """Offer `OPENFGA`."""
    yield PolicyStoreType(
        name="OPENFGA",
        summary="OpenFGA, over its HTTP API: policies make the model, data the tuples",
        open=open_store,
        settings=OpenFgaStoreSettings,
    )
