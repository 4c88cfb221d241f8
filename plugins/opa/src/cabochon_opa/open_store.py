"""From settings to an open store: which parts there are, and who owns whom."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from cabochon_opa.bundle.activation import Activation
from cabochon_opa.bundle.delivery import BundleDelivery
from cabochon_opa.bundle.service import open_bundle_service
from cabochon_opa.client import OpaClient, open_client
from cabochon_opa.data.our_documents import OurDocuments
from cabochon_opa.data.writer import DataWriter
from cabochon_opa.engine_labels import engine_labels
from cabochon_opa.health.listener import OPAL_POLICY, PROBES_POLICY
from cabochon_opa.policies.check import PolicyCheck
from cabochon_opa.policies.delivery import PolicyDelivery
from cabochon_opa.policies.paths_to_ignore import PathsToIgnore
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.store import OpaPolicyStore

__all__ = ["open_opa_store"]


@asynccontextmanager
async def open_opa_store(settings: OpaStoreSettings) -> AsyncGenerator[OpaPolicyStore]:
    """Open a store; OPA need not be up yet.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(settings))
        ignored = PathsToIgnore(settings.policy_paths_to_ignore)
        rest = RestDelivery(
            client,
            ignored=ignored,
            reserved=(OPAL_POLICY, PROBES_POLICY),
            check=PolicyCheck(client, settings.exec_path),
            # What a bundle leaves to REST is no whole set.
            keep_others=settings.keep_policies_of_others or settings.policy_delivery == "bundle",
        )
        documents = OurDocuments()
        delivery: PolicyDelivery = rest
        if settings.policy_delivery == "bundle":
            shelf = await stack.enter_async_context(open_bundle_service(settings.bundle_service_addr))
            activation = Activation(shelf, partial(_engine_id, client))
            delivery = BundleDelivery(rest, activation, lambda: list(documents), ignored=ignored)
        yield OpaPolicyStore(client, DataWriter(client, delivery, documents), delivery, rest)


async def _engine_id(client: OpaClient) -> str:
    return (await engine_labels(client)).id
