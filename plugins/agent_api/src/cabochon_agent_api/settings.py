"""Where the agent's HTTP API listens, and whom it lets in: the peer's variables."""

from __future__ import annotations

from pydantic import Field

from cabochon.kit.web.pages import PageSettings
from cabochon.kit.web.tokens import JwtSettings

__all__ = ["AgentApiSettings"]

_HIGHEST_PORT = 65_535


class AgentApiSettings(JwtSettings, PageSettings):
    """The settings of the HTTP API."""

    host: str = Field(
        default="127.0.0.1",
        validation_alias="OPAL_CLIENT_API_SERVER_HOST",
        description="Address that the agent's HTTP API listens on; 0.0.0.0 for all, as containers need.",
    )
    port: int = Field(
        default=7000,
        validation_alias="OPAL_CLIENT_API_SERVER_PORT",
        description="Port that the agent's HTTP API listens on; 0 for any that is free, which the log then names.",
        ge=0,
        le=_HIGHEST_PORT,
    )
    workers: int = Field(
        default=1,
        validation_alias="OPAL_CLIENT_API_SERVER_WORKER_COUNT",
        description="Accepted because OPAL has it, and without effect: one process serves.",
    )
    metrics_enabled: bool = Field(
        default=False,
        validation_alias="OPAL_ENABLE_METRICS",
        description="Serve GET /metrics as Prometheus text, to everyone who can reach the port.",
    )
