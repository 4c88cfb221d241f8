"""From settings to an open store: which parts there are, and who owns whom."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cabochon_opa.client import open_client
from cabochon_opa.data.writer import DataWriter
from cabochon_opa.health.listener import OPAL_POLICY, PROBES_POLICY
from cabochon_opa.policies.check import PolicyCheck
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
    async with open_client(settings) as client:
        rest = RestDelivery(
            client,
            ignored=PathsToIgnore(settings.policy_paths_to_ignore),
            reserved=(OPAL_POLICY, PROBES_POLICY),
            check=PolicyCheck(client, settings.exec_path),
        )
        data = DataWriter(client, rest.make_room)
        yield OpaPolicyStore(client, data, rest, rest)
