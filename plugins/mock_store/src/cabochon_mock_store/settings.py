"""What an operator can set for the store `MOCK`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from cabochon import Seconds, Settings

__all__ = ["MockStoreSettings"]


class MockStoreSettings(Settings):
    """Settings of the in-memory engine."""

    latency: Seconds = Field(
        default=timedelta(0),
        validation_alias="OPAL_MOCK_STORE_LATENCY",
        description="Seconds that a commit takes in the in-memory engine.",
    )
    history: int = Field(
        default=1000,
        ge=0,
        validation_alias="OPAL_MOCK_STORE_HISTORY",
        description="How many commits the in-memory engine remembers.",
    )
