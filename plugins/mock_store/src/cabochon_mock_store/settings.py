"""What an operator can set for the store `MOCK`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["MockStoreSettings"]


class MockStoreSettings(BaseSettings):
    """Settings of the in-memory engine."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    latency_s: float = Field(
        default=0.0, ge=0, alias="OPAL_MOCK_STORE_LATENCY", description="Seconds that a commit takes."
    )
    history: int = Field(
        default=1000, ge=0, alias="OPAL_MOCK_STORE_HISTORY", description="How many commits the engine remembers."
    )
