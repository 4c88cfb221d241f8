"""OpenFGA keeps the contract of policy stores, in memory and with SQLite."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from cabochon.document_path import DocumentPath
from cabochon.policy_store import Changes, PolicyStore, ReplacePolicies, SetData, Write
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

BROKEN = {"contract/second.fga": MODULES["contract/second.fga"].replace("member:", "member")}


class TestOpenFgaStore(PolicyStoreContract):
    """A real OpenFGA over HTTP."""

    missing_powers = frozenset({"json_patch", "marker"})
    example_data = (
        SetData(DocumentPath(("docs",)), b'[{"user": "user:ann", "relation": "viewer", "object": "document:plan"}]'),
        SetData(DocumentPath(("teams",)), b'{"team:red": {"member": ["user:ann", "user:bob"]}}'),
    )
    example_policies = MODULES
    broken_policies = BROKEN

    @pytest.fixture(scope="class")
    def shared(self, openfga_path: Path) -> Iterator[RealOpenFga]:
        """One OpenFGA for all tests; each has a store of its own."""
        with RealOpenFga(openfga_path) as running:
            yield running

    @pytest.fixture
    def settings(self, shared: RealOpenFga) -> OpenFgaStoreSettings:
        return OpenFgaStoreSettings(policy_store_url=shared.url, store_name=f"test-{uuid.uuid4()}")

    @pytest.fixture
    async def store(self, settings: OpenFgaStoreSettings) -> AsyncIterator[OpenFgaPolicyStore]:
        """With a model, without which there can be no tuples."""
        async with open_openfga_store(settings) as store:
            assert (await store.commit(Changes((Write("model", (ReplacePolicies(MODULES),)),)))).landed
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

    @pytest.fixture(scope="class")
    def shared(self, openfga_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOpenFga]:
        with RealOpenFga(openfga_path, sqlite=tmp_path_factory.mktemp("openfga") / "openfga.db") as running:
            yield running
