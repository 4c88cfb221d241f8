"""Where the base data comes from, and under which routes data is served."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, Field

from cabochon import Settings
from cabochon.schemas import (
    DEFAULT_DATA_TOPIC,
    DataSourceConfig,
    DataSourceEntryWithPollingInterval,
    ServerDataSourceConfig,
)
from cabochon.settings.core import Masked
from cabochon_opal_server.data.publishing import UpdateLimits
from cabochon_opal_server.pubsub.topics import TopicLimits

__all__ = ["DataSettings"]


def _sources(value: object) -> object:
    if value is None or isinstance(value, ServerDataSourceConfig):
        return value
    try:
        given: Any = json.loads(value) if isinstance(value, str) else value
        return msgspec.convert(given, ServerDataSourceConfig)
    except (ValueError, RecursionError, msgspec.ValidationError) as err:
        raise ValueError(
            'should be JSON such as {"config": {"entries": [{"url": "http://host/data", "topics": ["policy_data"]}]}} '
            f'or {{"external_source_url": "http://host/sources"}}: {err}'
        ) from None


class DataSettings(Settings):
    """The settings of base data and data updates."""

    sources: Annotated[ServerDataSourceConfig | None, BeforeValidator(_sources), Masked] = Field(
        default=None,
        validation_alias="OPAL_DATA_CONFIG_SOURCES",
        description="Base data sources that clients load when they connect, or the URL they are redirected to, "
        "as JSON. Unset: one that is empty, served by this server.",
    )
    all_data_topic: str = Field(
        default=DEFAULT_DATA_TOPIC,
        validation_alias="OPAL_ALL_DATA_TOPIC",
        description="Topic of the base data source where OPAL_DATA_CONFIG_SOURCES is not set.",
    )
    all_data_route: str = Field(
        default="/policy-data",
        validation_alias="OPAL_ALL_DATA_ROUTE",
        description="Route of the empty base data.",
        pattern="^/",
    )
    all_data_url: str | None = Field(
        default=None,
        validation_alias="OPAL_ALL_DATA_URL",
        description="URL of the base data source where OPAL_DATA_CONFIG_SOURCES is not set; by default the empty base "
        "data of this server, such as http://localhost:7002/policy-data.",
    )
    config_route: str = Field(
        default="/data/config",
        validation_alias="OPAL_DATA_CONFIG_ROUTE",
        description="Route under which base data sources are asked for and data updates are published.",
        pattern="^/",
    )
    report_route: str = Field(
        default="/data/callback_report",
        validation_alias="OPAL_DATA_CALLBACK_DEFAULT_ROUTE",
        description="Route that takes clients' reports.",
        pattern="^/",
    )
    largest_update: int = Field(
        default=32 * 1024 * 1024,
        validation_alias="OPAL_LARGEST_UPDATE_BYTES",
        description="Bytes that the body of a published data update may have.",
        ge=1024,
    )

    max_entries: int = Field(
        default=100_000,
        validation_alias="OPAL_UPDATE_MAX_ENTRIES",
        description="Entries that a published data update may have.",
        ge=1,
    )
    max_topics: int = Field(
        default=10_000,
        validation_alias="OPAL_UPDATE_MAX_TOPICS",
        description="Topics that a published data update may go to, with all those above the ones it names.",
        ge=1,
    )
    topic_length: int = Field(
        default=1024,
        validation_alias="OPAL_TOPIC_MAX_LENGTH",
        description="Characters that a topic may have.",
        ge=1,
    )
    topic_levels: int = Field(
        default=64,
        validation_alias="OPAL_TOPIC_MAX_LEVELS",
        description="Levels that a topic may have, between slashes and colons.",
        ge=1,
    )
    client_topics: int = Field(
        default=5_000,
        validation_alias="OPAL_CLIENT_MAX_TOPICS",
        description="Topics that a client may be subscribed to over one connection.",
        ge=1,
    )

    @property
    def update_limits(self) -> UpdateLimits:
        """What a published update may be."""
        topics = TopicLimits(
            length=self.topic_length,
            levels=self.topic_levels,
            of_update=self.max_topics,
            of_client=self.client_topics,
        )
        return UpdateLimits(topics=topics, entries=self.max_entries, topics_bytes=self.largest_update)

    def base_data(self, port: int) -> ServerDataSourceConfig:
        """Return the base data sources; `port` is the server's own."""
        if self.sources is not None:
            return self.sources
        url = self.all_data_url or f"http://localhost:{port}{self.all_data_route}"
        entry = DataSourceEntryWithPollingInterval(url=url, topics=(self.all_data_topic,))
        return ServerDataSourceConfig(config=DataSourceConfig(entries=(entry,)))
