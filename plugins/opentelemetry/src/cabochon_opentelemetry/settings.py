"""The one setting of ours; all others are OpenTelemetry's own `OTEL_` variables, which its SDK reads."""

from __future__ import annotations

from pydantic import Field

from cabochon import Settings

__all__ = ["OpenTelemetrySettings"]


class OpenTelemetrySettings(Settings):
    """Whether to trace."""

    enabled: bool = Field(
        default=False,
        validation_alias="OPAL_OPENTELEMETRY_ENABLED",
        description="Send a trace of each update to OpenTelemetry; where to is said by its own variables, `OTEL_...`.",
    )
