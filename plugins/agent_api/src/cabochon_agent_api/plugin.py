"""What this plugin offers: the service `agent-api`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

from cabochon import AgentContext, ServiceType, hookimpl
from cabochon_agent_api.settings import AgentApiSettings

__all__ = ["cabochon_services"]


def open_agent_api(settings: AgentApiSettings, agent: AgentContext) -> AbstractAsyncContextManager[None]:
    """Serve the agent's HTTP API; what serves it is imported only now."""
    from cabochon_agent_api.service import serving  # noqa: PLC0415

    return serving(settings, agent)


def own_addresses(settings: AgentApiSettings) -> tuple[str, ...]:
    """Say where the API answers; on a port that nobody has chosen nobody can be sent to it."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return (f"http://{host}:{settings.port}",) if settings.port else ()


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    """Offer `agent-api`."""
    yield ServiceType(
        name="agent-api",
        summary="The agent's HTTP API: health probes, triggers, callbacks, metrics",
        open=open_agent_api,
        settings=AgentApiSettings,
        addresses=own_addresses,
    )
