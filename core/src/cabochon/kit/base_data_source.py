"""An update source that gives one list of base data and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from cabochon.contract.update_source import Connected, SourceEvent, UpdateSource
from cabochon.errors import ConfigurationError
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, PolicyBundle, ServerDataSourceConfig
from cabochon.urls import masked_url

__all__ = ["BaseDataSource", "parse_data_sources"]


class _Shape(msgspec.Struct):
    entries: list[msgspec.Raw] | None = None


class BaseDataSource(UpdateSource):
    """Connects, gives its list, ends. Every entry is for this agent, whatever its topics."""

    has_policies = False

    def __init__(self, sources: DataSourceConfig) -> None:
        self._sources = sources

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Yield `Connected` and end."""
        yield Connected()

    async def data_sources(self) -> DataSourceConfig:
        """Return the list."""
        return self._sources

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Return nothing: there are no policies here."""
        del base_hash, directories
        return None


def parse_data_sources(raw: bytes | str, *, where: str) -> DataSourceConfig:
    """Read base data sources in any shape that people have at hand.

    The peer's `OPAL_DATA_CONFIG_SOURCES` (`{"config": {"entries": [...]}}`), what its server answers
    (`{"entries": [...]}`), or the bare list of entries.

    Args:
        raw: the JSON text.
        where: what to call it in an error.

    Raises:
        ConfigurationError: it is none of these, or it only names an `external_source_url`.
    """
    text = raw.encode() if isinstance(raw, str) else raw
    try:
        shape = msgspec.json.decode(text, type=_Shape | list[msgspec.Raw])
        if isinstance(shape, list):
            entries = msgspec.json.decode(text, type=tuple[DataSourceEntryWithPollingInterval, ...])
            return DataSourceConfig(entries=entries)
        if shape.entries is not None:
            return msgspec.json.decode(text, type=DataSourceConfig)
        found = msgspec.json.decode(text, type=ServerDataSourceConfig)
    except msgspec.DecodeError as err:
        shape_wanted = '{"config": {"entries": [{"url": ..., "dst_path": ...}]}}'
        msg = f"{where}: no data sources; it should be {shape_wanted}: {err}"
        raise ConfigurationError(msg) from err
    if found.config is None:
        elsewhere = masked_url(found.external_source_url or "")
        msg = f"{where}: it names no entries, they are at {elsewhere}: give that instead"
        raise ConfigurationError(msg)
    return found.config
