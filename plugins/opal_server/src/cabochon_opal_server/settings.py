"""Where the server listens, and what one client may cost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from cabochon.kit.web.pages import PageSettings
from cabochon.settings.core import Seconds
from cabochon_opal_server.web.http_limits import HttpLimits

__all__ = ["ServerSettings"]

_HIGHEST_PORT = 65_535


# size: a field for each setting, and nothing else
class ServerSettings(PageSettings):
    """The settings of the server itself."""

    host: str = Field(
        default="127.0.0.1",
        validation_alias="OPAL_SERVER_HOST",
        description="Address that the server listens on; 0.0.0.0 for all, as containers need.",
    )
    bind_port: int = Field(
        default=7002,
        validation_alias="OPAL_SERVER_BIND_PORT",
        description="Port that the server listens on; 0 for any that is free, which the log then names.",
        ge=0,
        le=_HIGHEST_PORT,
    )
    old_port: str | None = Field(
        default=None,
        validation_alias="OPAL_SERVER_PORT",
        description="The port under its older name, which counts where it is a number: Kubernetes sets it to a URL.",
    )
    workers: int | None = Field(
        default=None,
        validation_alias="OPAL_SERVER_WORKER_COUNT",
        description="Accepted because OPAL has it, and without effect: one process serves.",
    )
    base_dir: Path = Field(
        default=Path("~/.local/state/opal"),
        validation_alias="OPAL_BASE_DIR",
        description="Folder for what the server keeps: the update log, clones of repositories.",
    )
    broadcast_uri: str | None = Field(
        default=None,
        validation_alias="OPAL_BROADCAST_URI",
        description="Backbone that several servers share, such as redis://host or postgres://host/db. Unset: this "
        "server alone, with its update log in a file.",
    )
    statistics_enabled: bool = Field(
        default=False,
        validation_alias="OPAL_STATISTICS_ENABLED",
        description="Serve GET /statistics and /stats.",
    )
    statistics_topic: str = Field(
        default="__opal_stats_add",
        validation_alias="OPAL_STATISTICS_ADD_CLIENT_CHANNEL",
        description="Topic under which clients make themselves known for statistics.",
    )
    metrics_enabled: bool = Field(
        default=False,
        validation_alias="OPAL_ENABLE_METRICS",
        description="Serve GET /metrics as Prometheus text, to everyone who can reach the port.",
    )
    waiting_messages: int = Field(
        default=20_000,
        validation_alias="OPAL_CLIENT_MAX_WAITING_MESSAGES",
        description="Messages that may wait for a client that does not read; with one more it is dropped.",
        ge=10,
    )
    waiting_bytes: int = Field(
        default=64 * 1024 * 1024,
        validation_alias="OPAL_CLIENT_MAX_WAITING_BYTES",
        description="Bytes that may wait for such a client; a single message may be longer.",
        ge=1024,
    )
    send_timeout: Seconds = Field(
        default=timedelta(seconds=30),
        validation_alias="OPAL_CLIENT_SEND_TIMEOUT",
        description="Time in which a client must take a message, else it is dropped.",
        gt=timedelta(0),
    )
    largest_message: int = Field(
        default=16 * 1024 * 1024,
        validation_alias="OPAL_CLIENT_MAX_MESSAGE_BYTES",
        description="Longest message that a client may send over the WebSocket.",
        ge=1024,
    )

    max_connections: int = Field(
        default=0,
        validation_alias="OPAL_SERVER_MAX_CONNECTIONS",
        description="Connections that there may be at once; 0 for as many as descriptors allow, with some left for "
        "work. With one more the one is closed that has waited longest for a request; WebSockets take seven eighths.",
        ge=0,
    )
    head_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        validation_alias="OPAL_HTTP_HEAD_TIMEOUT",
        description="Time in which a client must have sent the head of a request; it begins with the connection.",
        gt=timedelta(0),
    )
    head_bytes: int = Field(
        default=64 * 1024,
        validation_alias="OPAL_HTTP_MAX_HEAD_BYTES",
        description="Bytes that the head of a request may have.",
        ge=1024,
    )
    headers: int = Field(
        default=128,
        validation_alias="OPAL_HTTP_MAX_HEADERS",
        description="Headers that a request may have.",
        ge=10,
    )
    body_rate: int = Field(
        default=1024,
        validation_alias="OPAL_HTTP_MIN_BODY_RATE",
        description="Bytes per second, over ten seconds, below which a client that sends a body is cut off.",
        ge=0,
    )
    bodies_bytes: int = Field(
        default=256 * 1024 * 1024,
        validation_alias="OPAL_HTTP_MAX_BODIES_BYTES",
        description="Bytes of all bodies that are being received at once; what is more is answered with 503.",
        ge=1024 * 1024,
    )

    @property
    def http_limits(self) -> HttpLimits:
        """What one HTTP connection may cost."""
        return HttpLimits(
            head_bytes=self.head_bytes,
            headers=self.headers,
            head_s=self.head_timeout.total_seconds(),
            body_bytes_s=self.body_rate,
            send_s=self.send_timeout.total_seconds(),
        )

    @property
    def port(self) -> int:
        """The port to listen on."""
        return int(self.old_port) if self.old_port is not None and self.old_port.isdigit() else self.bind_port
