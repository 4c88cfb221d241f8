"""OPA keeps the contract of policy stores, the same one as the mock store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from cabochon.policy_store import PolicyStore
from cabochon.testing.policy_store_contract import DocumentStoreContract
from cabochon_opa.opening import open_opa_store
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
