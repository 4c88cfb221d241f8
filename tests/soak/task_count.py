"""A plugin for the agent of the soak: the number of its tasks, as a gauge beside its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

from cabochon import AgentContext, ServiceType, hookimpl


@asynccontextmanager
async def counting(settings: None, agent: AgentContext) -> AsyncGenerator[None]:
    """Offer the gauge `soak.tasks`."""
    del settings
    loop = asyncio.get_running_loop()
    agent.metrics.gauge("soak.tasks", lambda: len(asyncio.all_tasks(loop)))
    yield


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    """Offer `task-count`."""
    yield ServiceType(name="task-count", summary="Counts tasks", open=counting)
