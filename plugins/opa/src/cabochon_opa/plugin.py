"""What this plugin offers."""

from collections.abc import Iterator

from cabochon import HttpRoutesType, PolicyStoreType, ServiceType, TransactionListenerType, hookimpl
from cabochon_opa.config_route import policy_store_routes
from cabochon_opa.health.listener import health_listener_type
from cabochon_opa.inline.sandbox import sandbox
from cabochon_opa.inline.service import inline_opa_service
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings, own_addresses

__all__ = ["cabochon_http_routes", "cabochon_policy_stores", "cabochon_services", "cabochon_transaction_listeners"]


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    """Offer `OPA`."""
    yield PolicyStoreType(
        name="OPA",
        summary="Open Policy Agent, over its REST API or by bundles",
        open=open_opa_store,
        settings=OpaStoreSettings,
        sandbox=sandbox,
        usual=True,
        addresses=own_addresses,
    )


@hookimpl
def cabochon_transaction_listeners() -> Iterator[TransactionListenerType]:
    """Offer the healthcheck policy."""
    yield health_listener_type()


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    """Offer inline OPA."""
    yield inline_opa_service()


@hookimpl
def cabochon_http_routes() -> Iterator[HttpRoutesType]:
    """Offer `GET /policy-store/config`."""
    yield policy_store_routes()
