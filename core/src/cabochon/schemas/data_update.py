"""Data updates and data sources, as the peer's `opal_common.schemas.data` puts them on the wire."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from cabochon.schemas.callbacks import UpdateCallback

__all__ = [
    "DEFAULT_DATA_TOPIC",
    "DataSourceConfig",
    "DataSourceEntry",
    "DataSourceEntryWithPollingInterval",
    "DataUpdate",
    "SaveMethod",
    "ServerDataSourceConfig",
]

DEFAULT_DATA_TOPIC = "policy_data"
SaveMethod = Literal["PUT", "PATCH"]


class DataSourceEntry(Struct, frozen=True, kw_only=True, gc=False):
    """One document to obtain and where it goes.

    Attributes:
        url: where to fetch from; informative when `data` is given.
        config: the fetcher's configuration; the member `fetcher` picks one by name.
        topics: who is meant.
        dst_path: where the document goes, as in OPA's data API.
        save_method: PUT replaces what is at `dst_path`; PATCH applies a JSON patch (RFC 6902) to it.
        data: the document (or patch) itself as raw JSON, untouched; unset or null means "fetch it from `url`". Unset is
            left out when written: the peer refuses an entry that is to be patched and has null here.
    """

    url: str
    config: dict[str, Any] | None = None
    topics: tuple[str, ...] = (DEFAULT_DATA_TOPIC,)
    dst_path: str = ""
    save_method: SaveMethod = "PUT"
    data: Raw | UnsetType = UNSET

    @property
    def inline(self) -> bytes | None:
        """The raw JSON that came with the entry, or None if it is to be fetched."""
        if self.data is UNSET:
            return None
        raw = bytes(self.data)
        return None if raw == b"null" else raw


class DataSourceEntryWithPollingInterval(DataSourceEntry, frozen=True, kw_only=True):
    """A base data source; `periodic_update_interval` (seconds) asks for it again and again."""

    periodic_update_interval: float | None = None


class DataSourceConfig(Struct, frozen=True, kw_only=True):
    """The base data: the full picture an agent needs before live updates make sense (`OPAL_DATA_CONFIG_SOURCES`)."""

    entries: tuple[DataSourceEntryWithPollingInterval, ...] = ()


class ServerDataSourceConfig(Struct, frozen=True, kw_only=True):
    """What a server holds: the base data itself, or the URL that clients are redirected to; exactly one of them."""

    config: DataSourceConfig | None = None
    external_source_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse both and neither."""
        if (self.config is None) == (self.external_source_url is None):
            msg = "give exactly one of 'config' and 'external_source_url'"
            raise ValueError(msg)


class DataUpdate(Struct, frozen=True, kw_only=True, gc=False):
    """A live update: entries that land together.

    Attributes:
        id: names the update in logs, transactions and reports; None lets the agent make one.
        entries: what to write; entries that overlap apply in this order.
        reason: free text for the log.
        callback: who else wants the report of this one update.
    """

    id: str | None = None
    entries: tuple[DataSourceEntry, ...]
    reason: str | None = None
    callback: UpdateCallback = UpdateCallback()
