"""The settings of the backbone in Redis."""

from __future__ import annotations

from pydantic import Field

from cabochon import Settings

__all__ = ["RedisBackboneSettings"]


class RedisBackboneSettings(Settings):
    """Where in Redis the log is; the server itself is named by OPAL_BROADCAST_URI."""

    channel: str = Field(
        default="EventNotifier",
        min_length=1,
        pattern=r"^[^{}\s]+$",
        validation_alias="OPAL_BROADCAST_CHANNEL_NAME",
        description="Keeps fleets apart that share one backbone: servers of one fleet have the same name.",
    )
