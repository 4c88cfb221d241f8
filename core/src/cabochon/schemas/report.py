"""Reports on data updates, as the peer sends them to callbacks."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from cabochon.schemas.data_update import DataSourceEntry

__all__ = ["DataEntryReport", "DataUpdateReport"]


class DataEntryReport(Struct, frozen=True, kw_only=True):
    """What became of one entry.

    Attributes:
        entry: the entry as it came.
        fetched: its data was obtained.
        saved: the engine holds it, or a newer document that covers it.
        hash: SHA-256, in hex, of the data as Python's `json.dumps` writes it; None if there is no data.
    """

    entry: DataSourceEntry
    fetched: bool | None = False
    saved: bool | None = False
    hash: str | None = None


class DataUpdateReport(Struct, frozen=True, kw_only=True):
    """What became of an update; for a policy update `policy_hash` is set and `update_id` is None."""

    update_id: str | None = None
    reports: tuple[DataEntryReport, ...]
    policy_hash: str | None = None
    user_data: dict[str, Any] = field(default_factory=dict[str, Any])
