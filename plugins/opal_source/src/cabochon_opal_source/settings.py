"""The settings of the `opal` update source: the peer's variables with the peer's meaning, and bounds of our own."""

from __future__ import annotations

import hashlib
import socket
import uuid
from datetime import timedelta
from typing import Annotated, cast

from pydantic import BeforeValidator, Field, SecretStr

from cabochon import CommaList
from cabochon.kit.http.tls import ClientTlsSettings
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.settings.core import Seconds
from cabochon_opal_source.topics import DEFAULT_SCOPE, outermost

__all__ = ["OpalSourceSettings"]

_NONE = timedelta(0)
_DEV_TOKEN = "THIS_IS_A_DEV_SECRET"  # noqa: S105 - the peer's public default; its server redirects nobody without one


def _without_slash(value: object) -> object:
    return value.strip().rstrip("/") if isinstance(value, str) else value


def _directories(value: object) -> object:
    if isinstance(value, str):
        return outermost(name.strip() for name in value.split(":") if name.strip())
    return outermost(cast("list[object]", value)) if isinstance(value, list | tuple) else value


BaseUrl = Annotated[str, BeforeValidator(_without_slash)]


# size: a field for each setting, and nothing else
class OpalSourceSettings(ClientTlsSettings):
    """Which server to follow, and what of it."""

    server_url: BaseUrl = Field(
        default="http://localhost:7002",
        validation_alias="OPAL_SERVER_URL",
        pattern=r"^https?://[^/?#]+",
        description="The OPAL server.",
    )
    server_ws_url: BaseUrl | None = Field(
        default=None,
        validation_alias="OPAL_SERVER_WS_URL",
        pattern=r"^wss?://[^/?#]+",
        description="The OPAL server by WebSocket; unset: OPAL_SERVER_URL with ws in place of http.",
    )
    server_pubsub_url: str | None = Field(
        default=None,
        validation_alias="OPAL_SERVER_PUBSUB_URL",
        pattern=r"^wss?://[^/?#]+",
        description="Where updates are subscribed to; unset: /ws below OPAL_SERVER_WS_URL.",
    )
    client_token: SecretStr = Field(
        default=SecretStr(_DEV_TOKEN),
        validation_alias="OPAL_CLIENT_TOKEN",
        description="The token that the server knows this agent by, sent as a bearer token.",
    )
    data_topics: CommaList = Field(
        default=("policy_data",),
        validation_alias="OPAL_DATA_TOPICS",
        description="Topics of data that are for this agent.",
    )
    policy_directories: Annotated[tuple[str, ...], BeforeValidator(_directories)] = Field(
        default=(".",),
        min_length=1,
        validation_alias="OPAL_POLICY_SUBSCRIPTION_DIRS",
        description="Directories of the policy repository, with all below them, separated by colons.",
    )
    scope_id: str = Field(
        default=DEFAULT_SCOPE,
        validation_alias="OPAL_SCOPE_ID",
        pattern=r"^[^/?#\s]+$",
        description="The scope of the server to follow.",
    )
    data_config_url: str | None = Field(
        default=None,
        validation_alias="OPAL_DEFAULT_DATA_SOURCES_CONFIG_URL",
        pattern=r"^https?://[^/?#]+",
        description="Where the list of base data sources is; unset: /data/config below OPAL_SERVER_URL. A scope has "
        "its own list.",
    )
    data_updater_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_DATA_UPDATER_ENABLED",
        description="Subscribe to data updates.",
    )
    policy_updater_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_POLICY_UPDATER_ENABLED",
        description="Subscribe to policy updates.",
    )
    keep_alive_interval: Seconds = Field(
        default=_NONE,
        ge=_NONE,
        validation_alias="OPAL_KEEP_ALIVE_INTERVAL",
        description="Seconds between the pings of OPAL's own protocol; 0 for none. WebSocket pings come beside them.",
    )
    ping_interval: Seconds = Field(
        default=timedelta(seconds=20),
        gt=_NONE,
        validation_alias="OPAL_SOURCE_PING_INTERVAL",
        description="Seconds of silence after which the server is pinged, and after which, with no answer, the "
        "connection counts as lost.",
    )
    max_message_bytes: int = Field(
        default=256 * 1024 * 1024,
        gt=0,
        validation_alias="OPAL_SOURCE_MAX_MESSAGE_BYTES",
        description="The largest message, list of base data sources or policy bundle that is accepted, in bytes.",
    )
    policy_retry: ConnRetryOptions = Field(
        default=ConnRetryOptions(
            wait_strategy="random_exponential",
            wait_time=timedelta(seconds=1),
            max_wait=timedelta(seconds=10),
            attempts=5,
        ),
        validation_alias="OPAL_POLICY_UPDATER_CONN_RETRY",
        description="Retries of asking for a policy bundle before the agent takes a longer pause, as JSON: "
        "wait_strategy (fixed, exponential or random_exponential), wait_time and max_wait in seconds, attempts.",
    )
    statistics_enabled: bool = Field(
        default=False,
        validation_alias="OPAL_STATISTICS_ENABLED",
        description="Tell the server's statistics that this agent is there.",
    )
    statistics_channel: str = Field(
        default="__opal_stats_add",
        min_length=1,
        validation_alias="OPAL_STATISTICS_ADD_CLIENT_CHANNEL",
        description="The topic on which the statistics are told.",
    )
    client_id: str = Field(
        default="",
        validation_alias="OPAL_OPAL_CLIENT_STAT_ID",
        description="This agent's name in the statistics and among the server's agents; unset: a new one at each start "
        "in the former, and in the latter made of the host's name and of what is followed for which store.",
    )
    policy_store_url: str = Field(
        default="http://localhost:8181",
        validation_alias="OPAL_POLICY_STORE_URL",
        description="The engine's address, which tells agents on one host apart.",
    )
    wait_on_server_load: bool = Field(
        default=False,
        validation_alias="OPAL_WAIT_ON_SERVER_LOAD",
        description="Before the first connection, wait until the server's /loadlimit lets us in.",
    )

    @property
    def pubsub_url(self) -> str:
        """Where to subscribe, such as `ws://localhost:7002/ws`."""
        if self.server_pubsub_url is not None:
            return self.server_pubsub_url
        return (self.server_ws_url or "ws" + self.server_url.removeprefix("http")) + "/ws"

    @property
    def data_sources_url(self) -> str:
        """Where the list of base data sources is."""
        if self.scope_id != DEFAULT_SCOPE:
            return f"{self.server_url}/scopes/{self.scope_id}/data"
        return self.data_config_url or f"{self.server_url}/data/config"

    @property
    def policy_url(self) -> str:
        """Where policy bundles are."""
        if self.scope_id != DEFAULT_SCOPE:
            return f"{self.server_url}/scopes/{self.scope_id}/policy"
        return f"{self.server_url}/policy"

    def agent_name(self) -> str:
        """This agent's name for a server of ours, the same at each start; what of it has no place in a header is `?`.

        Agents on one host are told apart by what they follow and by their engine's address.
        """
        what = (self.server_url, self.scope_id, self.data_topics, self.policy_directories, self.policy_store_url)
        mark = hashlib.sha256(repr(what).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        name = self.client_id or f"{socket.gethostname()}-{mark}"
        return "".join(char if "!" <= char <= "~" else "?" for char in name)[:200]

    def statistics_id(self) -> str:
        """This agent's name in the statistics; a new one each time if it was not given."""
        return self.client_id or f"CLIENT_{uuid.uuid4().hex}"
