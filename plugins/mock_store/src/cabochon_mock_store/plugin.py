"""What this plugin offers: the in-memory policy store `MOCK`, and its health document."""

from collections.abc import Iterator

from cabochon import PolicyStoreType, TransactionListenerType, hookimpl
from cabochon_mock_store.listener import open_mock_health
from cabochon_mock_store.settings import MockStoreSettings
from cabochon_mock_store.store import open_mock_store

__all__ = ["cabochon_policy_stores", "cabochon_transaction_listeners"]


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    """Offer `MOCK`."""
    yield PolicyStoreType(
        name="MOCK",
        summary="An engine in memory, for tests and demos",
        open=open_mock_store,
        settings=MockStoreSettings,
        for_tests=True,
    )


@hookimpl
def cabochon_transaction_listeners() -> Iterator[TransactionListenerType]:
    """Offer the health document at `/system/opal`."""
    yield TransactionListenerType(
        name="mock-health",
        summary="Keep the health document in the mock engine, at /system/opal",
        open=open_mock_health,
        stores=("MOCK",),
    )
