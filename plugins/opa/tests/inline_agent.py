"""An agent with inline OPA and a mock engine in the place of the store `OPA`; also a program, to be killed.

    python inline_agent.py asyncio

It logs to standard error, as JSON, and runs until it is told to end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.abc

from cabochon import Connected, Plugins, PolicyStoreType, ServiceType, SourceEvent, hookimpl
from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent
from cabochon.kit.base_data_source import BaseDataSource
from cabochon.logs.setup import configure_logging
from cabochon.schemas import DataSourceConfig
from cabochon.settings.core import CoreSettings, LogSettings
from cabochon_mock_store import MockEngine, mock_store_type
from cabochon_opa.inline.service import inline_opa_service


class Silent(BaseDataSource):
    """A source that is connected and says nothing more."""

    async def events(self) -> AsyncIterator[SourceEvent]:
        yield Connected()
        await anyio.sleep_forever()


class Plugin:
    """A mock engine under the name `OPA`, one under its own, and the service."""

    @hookimpl
    def cabochon_policy_stores(self) -> list[PolicyStoreType]:
        mock = mock_store_type(MockEngine())
        return [mock, replace(mock, name="OPA", settings=None)]

    @hookimpl
    def cabochon_services(self) -> list[ServiceType]:
        return [inline_opa_service()]


@asynccontextmanager
async def opened_agent(environ: Mapping[str, str], store: str = "OPA") -> AsyncGenerator[Agent]:
    """Open the agent; `run` it."""
    settings = CoreSettings.model_validate({"policy_store_type": store, "policy_updater_enabled": False})
    source: Any = Silent(DataSourceConfig())
    async with open_agent(Plugins.of(("p", Plugin())), settings, source=source, environ=environ) as agent:
        yield agent


@asynccontextmanager
async def running_agent(environ: Mapping[str, str], store: str = "OPA") -> AsyncGenerator[Agent]:
    """Run the agent; it is in sync when this is entered, and has ended when it is left."""
    async with opened_agent(environ, store) as agent, anyio.create_task_group() as tasks:
        await tasks.start(agent.run)
        yield agent
        agent.stop()


async def _main() -> None:
    async with opened_agent(os.environ) as agent, anyio.create_task_group() as tasks:

        async def stop_on_signals(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                task_status.started()
                async for _ in signals:
                    agent.stop()

        await tasks.start(stop_on_signals)
        await agent.run()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    configure_logging(LogSettings(log_serialize=True))
    anyio.run(_main, backend=sys.argv[1])
