"""The settings of the `local` update source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from cabochon import CommaList, ConfigurationError, Masked, Settings
from cabochon.kit.base_data_source import parse_data_sources
from cabochon.schemas import DataSourceConfig

__all__ = ["LocalSourceSettings"]


def _data_sources(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_data_sources(value, where="it")
    except ConfigurationError as err:
        raise ValueError(str(err).removeprefix("it: ")) from None


class LocalSourceSettings(Settings):
    """Where updates come from when there is no server."""

    updates: str | None = Field(
        None,
        validation_alias="OPAL_LOCAL_UPDATES",
        description="File of data updates, one JSON object on a line; - for standard input; unset: no live updates.",
    )
    follow: bool = Field(
        False,
        validation_alias="OPAL_LOCAL_FOLLOW",
        description="Wait for more lines at the end of the file; if not, the agent ends with it.",
    )
    policies: Path | None = Field(
        None,
        validation_alias="OPAL_LOCAL_POLICIES",
        description="Folder of policies (*.rego and other text) and data files (data.json); unset: no policies.",
    )
    data_sources: Annotated[DataSourceConfig, BeforeValidator(_data_sources), Masked()] = Field(
        DataSourceConfig(),
        validation_alias="OPAL_DATA_CONFIG_SOURCES",
        description='Base data, as JSON: {"config": {"entries": [{"url": ..., "dst_path": ...}]}}.',
    )
    topics: CommaList = Field(
        ("policy_data",),
        validation_alias="OPAL_DATA_TOPICS",
        description="Topics of data that are for this agent.",
    )
