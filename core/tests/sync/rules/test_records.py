"""From an update that ends to its record in the transaction log."""

from __future__ import annotations

import pytest

from cabochon.documents.path import DocumentPath
from cabochon.errors import FetchError
from cabochon.schemas import DataSourceEntry
from cabochon.sync.rules.records import record_of
from cabochon.sync.rules.update import Entry, Update
from cabochon.transactions.log import Half, TransactionLog


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bob:secret@data.example/users", "https://data.example/users"),
        ("https://data.example/users?token=secret", "https://data.example/users?token=***"),
        ("https://data.example/users#secret", "https://data.example/users"),
        ("https://data.example/users", "https://data.example/users"),
    ],
)
@pytest.mark.parametrize("failed", [False, True], ids=["fetched", "failed"])
def test_record_holds_no_secret_of_a_url(url: str, shown: str, failed: bool) -> None:  # noqa: FBT001 # a column
    """Whoever may see the health document sees where data came from, and no password or token of the URL."""
    entry = Entry(DocumentPath(("users",)), "PUT", DataSourceEntry(url=url, dst_path="/users"))
    if failed:
        entry.fetch_failed(FetchError("no", url=shown))
    else:
        entry.ready(b"{}")
    record = record_of(Update("1", [entry]), 1.0)

    assert record is not None
    assert [shown] == [remote.remote_url for remote in record.remotes]
    assert "secret" not in str(TransactionLog(policies=Half(enabled=False)).after([record]).as_document())
