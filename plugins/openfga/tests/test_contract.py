"""OpenFGA keeps the contract of policy stores, in memory and with SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.documents.path import DocumentPath
from cabochon.testing.fact_store_contract import FactStoreContract
from cabochon.testing.real_engine import free_port
from cabochon.transactions.changes import Changes, ReplacePolicies, SetData, Write
from cabochon_openfga.open_store import open_openfga_store
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.store import OpenFgaPolicyStore
from cabochon_openfga.testing import RealOpenFga

MODULES = {
    "contract/fga.mod": "schema: '1.2'\ncontents:\n  - first.fga\n  - second.fga\n",
    "contract/first.fga": "module first\n\ntype user\n\ntype document\n  relations\n"
    "    define viewer: [user, user with in_hours]\n\n"
    "condition in_hours(hour: int, from: int, to: int) {\n  hour >= from && hour < to\n}\n",
    "contract/second.fga": "module second\n\ntype team\n  relations\n    define member: [user]\n",
}

BROKEN = {"contract/second.fga": MODULES["contract/second.fga"].replace("member:", "member")}


class TestOpenFgaStore(FactStoreContract):
    """A real OpenFGA over HTTP."""

    missing_powers = frozenset({"json_patch", "marker"})
    example_data = (
        SetData(DocumentPath(("docs",)), b'[{"user": "user:ann", "relation": "viewer", "object": "document:plan"}]'),
        SetData(DocumentPath(("teams",)), b'{"team:red": {"member": ["user:ann", "user:bob"]}}'),
    )
    example_policies = MODULES
    broken_policies = BROKEN

    @pytest.fixture
    def settings(self, shared_in_memory: RealOpenFga, store_name: str) -> OpenFgaStoreSettings:
        return OpenFgaStoreSettings(policy_store_url=shared_in_memory.url, store_name=store_name)

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

    @pytest.fixture
    def open_pruning(
        self, settings: OpenFgaStoreSettings
    ) -> Callable[[], AbstractAsyncContextManager[OpenFgaPolicyStore]]:
        return lambda: open_openfga_store(settings.model_copy(update={"prune": "all"}))

    def fact(self, number: int) -> object:
        return {"user": f"user:{number}", "relation": "viewer", "object": "document:plan"}

    def changed(self, number: int) -> object:
        hours = {"name": "in_hours", "context": {"from": 9, "to": 17}}
        return {"user": f"user:{number}", "relation": "viewer", "object": "document:plan", "condition": hours}

    def refused_fact(self) -> object:
        return {"user": "user:ann", "relation": "reads", "object": "document:plan"}


class TestOpenFgaStoreInSqlite(TestOpenFgaStore):
    """The same, on disk."""

    @pytest.fixture
    def settings(self, shared_in_sqlite: RealOpenFga, store_name: str) -> OpenFgaStoreSettings:
        return OpenFgaStoreSettings(policy_store_url=shared_in_sqlite.url, store_name=store_name)
