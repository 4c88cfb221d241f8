"""The health document: what OPA answers under `/v1/data/system/opal`, kept in the mock engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cabochon.contract.transaction_listener import TransactionListener
from cabochon.documents import json_values
from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import SetData

if TYPE_CHECKING:
    from cabochon.transactions.log import TransactionLog
    from cabochon.transactions.records import TransactionRecord

__all__ = ["HEALTH_PATH", "MockHealthListener", "open_mock_health"]

HEALTH_PATH = DocumentPath(("system", "opal"))


class MockHealthListener(TransactionListener):
    """Write the whole health document in the same commit as the data that it describes."""

    owned_paths = (HEALTH_PATH,)

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[SetData]:  # noqa: ARG002 # the log has it all
        """Return the write of `log.as_document()`."""
        return (SetData(HEALTH_PATH, json_values.encode(log.as_document())),)


@asynccontextmanager
async def open_mock_health(_settings: object) -> AsyncGenerator[MockHealthListener]:
    """Open the listener."""
    yield MockHealthListener()
