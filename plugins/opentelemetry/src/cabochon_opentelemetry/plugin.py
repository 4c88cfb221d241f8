"""What this plugin offers: the service `opentelemetry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, nullcontext

from cabochon import AgentContext, ServiceType, hookimpl
from cabochon_opentelemetry.settings import OpenTelemetrySettings

__all__ = ["cabochon_services"]


def open_tracing(settings: OpenTelemetrySettings, agent: AgentContext) -> AbstractAsyncContextManager[None]:
    """Trace the agent if that is asked for; OpenTelemetry's SDK is imported only then."""
    if not settings.enabled:
        return nullcontext()
    from cabochon_opentelemetry.service import tracing  # noqa: PLC0415

    return tracing(agent)


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    """Offer `opentelemetry`; entered first and left last, so that it sees all of the sync."""
    yield ServiceType(
        name="opentelemetry",
        summary="Traces of updates to OpenTelemetry",
        open=open_tracing,
        phase="before_store",
        settings=OpenTelemetrySettings,
    )
