"""The health document's listener keeps the contract of transaction listeners."""

import pytest

from cabochon import TransactionListenerType
from cabochon.testing.transaction_listener_contract import TransactionListenerContract
from cabochon_mock_store.plugin import cabochon_transaction_listeners


class TestMockHealthListener(TransactionListenerContract):
    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        (offered,) = cabochon_transaction_listeners()
        return offered
