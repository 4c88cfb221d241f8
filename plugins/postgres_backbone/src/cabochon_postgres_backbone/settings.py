"""The settings of the backbone in PostgreSQL."""

from __future__ import annotations

from pydantic import Field

from cabochon import Settings

__all__ = ["PostgresBackboneSettings"]


class PostgresBackboneSettings(Settings):
    """Which log in the database is meant; the database itself is named by OPAL_BROADCAST_URI."""

    channel: str = Field(
        default="EventNotifier",
        min_length=1,
        pattern=r"^[^{}\s]+$",
        validation_alias="OPAL_BROADCAST_CHANNEL_NAME",
        description="Keeps fleets apart that share one backbone: servers of one fleet have the same name.",
    )
