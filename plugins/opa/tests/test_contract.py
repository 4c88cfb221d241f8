"""OPA keeps the contract of policy stores, the same one as the mock store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio.to_thread
import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.testing.policy_store_contract import DocumentStoreContract
from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.store import OpaPolicyStore
from cabochon_opa.testing import RealOpa, free_port


class TestOpaStore(DocumentStoreContract):
    """A real OPA over HTTP."""

    @pytest.fixture
    def settings(self, opa: RealOpa, opa_path: Path) -> OpaStoreSettings:
        return OpaStoreSettings(policy_store_url=opa.url, exec_path=str(opa_path))

    @pytest.fixture
    async def store(self, settings: OpaStoreSettings) -> AsyncIterator[OpaPolicyStore]:
        async with open_opa_store(settings) as store:
            yield store

    @pytest.fixture
    def open_again(self, settings: OpaStoreSettings) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: open_opa_store(settings)

    @pytest.fixture
    async def unreachable_store(self) -> AsyncIterator[OpaPolicyStore]:
        async with open_opa_store(OpaStoreSettings(policy_store_url=f"http://127.0.0.1:{free_port()}")) as store:
            yield store


class TestOpaStoreWithBundles(TestOpaStore):
    """A real OPA that is configured to load its policies from us."""

    @pytest.fixture
    def address(self) -> str:
        return f"127.0.0.1:{free_port()}"

    @pytest.fixture
    def opa(self, opa_path: Path, address: str, tmp_path: Path) -> Iterator[RealOpa]:
        config = tmp_path / "opa.json"
        config.write_text(json.dumps(bundle_config(address)))
        with RealOpa(opa_path, f"--config-file={config}") as running:
            yield running

    @pytest.fixture
    def settings(self, opa: RealOpa, opa_path: Path, address: str) -> OpaStoreSettings:
        return OpaStoreSettings(
            policy_store_url=opa.url,
            exec_path=str(opa_path),
            policy_delivery="bundle",
            bundle_service_addr=address,
        )

    @pytest.fixture
    async def store(self, settings: OpaStoreSettings, opa: RealOpa) -> AsyncIterator[OpaPolicyStore]:
        async with open_opa_store(settings) as store:
            yield store
            # A connection that OPA opens just while the server closes is left to the garbage collector by hypercorn.
            await anyio.to_thread.run_sync(opa.kill)

    @pytest.fixture
    def open_again(self, settings: OpaStoreSettings) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        """Another agent has another bundle service, and an OPA asks but one: by REST it can share the documents."""
        return lambda: open_opa_store(settings.model_copy(update={"policy_delivery": "rest"}))
