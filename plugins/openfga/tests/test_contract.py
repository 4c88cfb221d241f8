"""OpenFGA keeps the contract of policy stores, in memory and with SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from cabochon.document_path import DocumentPath
from cabochon.policy_store import PolicyStore, ReplacePolicies, SetData
from cabochon.testing._commits import land
from cabochon.testing.policy_store_contract import PolicyStoreContract
from cabochon.testing.real_engine import free_port
from cabochon_openfga.opening import open_openfga_store
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.store import OpenFgaPolicyStore
from cabochon_openfga.testing import RealOpenFga

MODULES = {
    "contract/fga.mod": "schema: '1.2'\ncontents:\n  - first.fga\n  - second.fga\n",
    "contract/first.fga": "module first\n\ntype user\n\ntype document\n  relations\n    define viewer: [user]\n",
    "contract/second.fga": "module second\n\ntype team\n  relations\n    define member: [user]\n",
}


class TestOpenFgaStore(PolicyStoreContract):
    """A real OpenFGA over HTTP."""

    missing_powers = frozenset({"json_patch", "marker"})
    example_data = (
        SetData(DocumentPath(("docs",)), b'[{"user": "user:ann", "relation": "viewer", "object": "document:plan"}]'),
        SetData(DocumentPath(("teams",)), b'{"team:red": {"member": ["user:ann", "user:bob"]}}'),
    )
    example_policies = MODULES
    broken_policies = {"contract/second.fga": "module second\n\ntype team\n  relations\n    define member [user]\n"}

    @pytest.fixture
    def settings(self, openfga: RealOpenFga) -> OpenFgaStoreSettings:
        return OpenFgaStoreSettings(policy_store_url=openfga.url)

    @pytest.fixture
    async def store(self, settings: OpenFgaStoreSettings) -> AsyncIterator[OpenFgaPolicyStore]:
        """With a model, without which there can be no tuples."""
        async with open_openfga_store(settings) as store:
            await land(store, ReplacePolicies(MODULES))
            yield store

    @pytest.fixture
    def open_again(self, settings: OpenFgaStoreSettings) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: open_openfga_store(settings)

    @pytest.fixture
    async def unreachable_store(self) -> AsyncIterator[OpenFgaPolicyStore]:
        settings = OpenFgaStoreSettings(policy_store_url=f"http://127.0.0.1:{free_port()}")
        async with open_openfga_store(settings) as store:
            yield store


class TestOpenFgaStoreInSqlite(TestOpenFgaStore):
    """The same, on disk."""

    @pytest.fixture
    def openfga(self, openfga_path: Path, tmp_path: Path) -> Iterator[RealOpenFga]:
        with RealOpenFga(openfga_path, sqlite=tmp_path / "openfga.db") as running:
            yield running
