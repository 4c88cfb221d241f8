"""The mock store keeps the contract of policy stores; it is the reference for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.testing.policy_store_contract import DocumentStoreContract
from cabochon_mock_store import MockEngine, MockPolicyStore, mock_store_type


class TestMockStore(DocumentStoreContract):
    """The mock store, answering at once."""

    missing_powers = frozenset({"validation"})
    latency_s = 0.0

    @pytest.fixture
    def engine(self) -> MockEngine:
        return MockEngine(latency_s=self.latency_s)

    @pytest.fixture
    def store(self, engine: MockEngine) -> MockPolicyStore:
        return MockPolicyStore(engine)

    @pytest.fixture
    def open_again(self, engine: MockEngine) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        store_type = mock_store_type(engine)
        return lambda: store_type.open(None)

    @pytest.fixture
    def unreachable_store(self) -> MockPolicyStore:
        engine = MockEngine()
        engine.go_down()
        return MockPolicyStore(engine)


class TestMockStoreWithLatency(TestMockStore):
    """The mock store, taking its time."""

    latency_s = 0.001


class TestMockStoreWithoutBlame(TestMockStore):
    """The mock store, not telling which change is to blame."""

    @pytest.fixture
    def store(self, engine: MockEngine) -> MockPolicyStore:
        engine.blames = False
        return MockPolicyStore(engine)
