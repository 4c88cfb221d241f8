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


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    """Offer `agent-api`."""
    yield ServiceType(
        name="agent-api",
        summary="The agent's HTTP API: health probes, triggers, callbacks, metrics",
        open=open_agent_api,
        settings=AgentApiSettings,
    )
