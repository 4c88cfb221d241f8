"""What this plugin offers."""

from collections.abc import Iterator

from cabochon import PolicyStoreType, hookimpl
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.store import open_opa_store

__all__ = ["cabochon_policy_stores"]


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    """Offer `OPA`."""
    yield PolicyStoreType(
        name="OPA",
        summary="Open Policy Agent, over its REST API or by bundles",
        open=open_opa_store,
        settings=OpaStoreSettings,
    )
