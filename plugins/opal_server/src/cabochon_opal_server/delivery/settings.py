"""How long agents are remembered."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from cabochon import Seconds, Settings

__all__ = ["DeliverySettings"]


class DeliverySettings(Settings):
    """The settings of tracked delivery."""

    agent_retention: Seconds = Field(
        default=timedelta(days=1),
        validation_alias="OPAL_AGENT_RETENTION",
        description="Seconds for which an agent that is away still counts as late; then the server forgets it.",
        gt=timedelta(0),
    )
