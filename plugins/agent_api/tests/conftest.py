"""What the API's tests share: agents with the settings of the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import anyio
import httpx
import pytest

from cabochon import Plugins, PolicyStore
from cabochon.agent.opening import open_agent
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval
from cabochon.settings.core import CoreSettings, load_settings
from cabochon.testing.in_process_source import InProcessSource
from cabochon.testing.real_engine import free_port
from cabochon_agent_api import plugin

from .rig import MockPlugin, Mounted, Open, Rig


@pytest.fixture
async def opened() -> AsyncGenerator[Open]:
    """Run agents with the settings that are given."""
    async with AsyncExitStack() as stack:

        async def run(
            *,
            entries: tuple[DataSourceEntryWithPollingInterval, ...] = (),
            store: PolicyStore | None = None,
            **environ: str,
        ) -> Rig:
            port = free_port()
            environ = {
                "OPAL_POLICY_STORE_TYPE": "MOCK",
                "OPAL_POLICY_UPDATER_ENABLED": "false",
                "OPAL_CLIENT_API_SERVER_PORT": str(port),
                **environ,
            }
            source = InProcessSource(base_data=DataSourceConfig(entries=entries))
            mock = MockPlugin()
            plugins = Plugins.of(("api", plugin), ("mock", mock), ("mounted", Mounted()))
            agent = await stack.enter_async_context(
                open_agent(plugins, load_settings(CoreSettings, environ), environ=environ, source=source, store=store)
            )
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(agent.stop)
            await tasks.start(agent.run)
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
            )
            return Rig(agent, mock.engine, source, client)

        yield run
