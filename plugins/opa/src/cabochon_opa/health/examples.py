"""States to try a template with: an agent that has just started, and one to which everything has happened."""

from __future__ import annotations

from typing import Any

from cabochon.documents.path import DocumentPath
from cabochon.schemas import RemoteStatus
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import FailedPath, TransactionRecord

__all__ = ["example_states"]

_URL, _REASON = "https://data.example/users", 'answered with 503 "Service Unavailable"'

_RECORDS = (
    TransactionRecord(number=0, id="c0ffee", transaction_type="policy", actions=("set_policies",)),
    TransactionRecord(number=0, id="decaf", transaction_type="policy", success=False, error="opal.rego:1: parse error"),
    TransactionRecord(number=1, id="first", actions=("set_policy_data",), origin=1),
    TransactionRecord(
        number=2,
        id="second",
        success=False,
        error=_REASON,
        origin=2,
        failed=(FailedPath(DocumentPath(("users",)), _REASON),),
        remotes=(RemoteStatus(remote_url=_URL, succeed=False, error=_REASON),),
    ),
)


def example_states() -> list[dict[str, Any]]:
    """Return them, as `TransactionLog.as_document` gives them."""
    new = TransactionLog()
    return [new.as_document(), new.with_source_connected(connected=True).after(_RECORDS).as_document()]
