"""`cabochon agent run`: the agent in the foreground."""

from __future__ import annotations

import os
import signal

import anyio
import click

from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent
from cabochon.cli.print_config import print_config
from cabochon.cli.topics import GroupWithTopics, WithTopics
from cabochon.plugins.installed import Plugins
from cabochon.settings.core import CoreSettings, load_settings
from cabochon.settings.fetch_providers import warn_of_modules
from cabochon.settings.page import warn_of_unknown_variables

__all__ = ["agent", "load_agent_plugins"]


@click.group(cls=GroupWithTopics)
def agent() -> None:
    """Run the agent that keeps a policy engine in sync.

    OPAL_POLICY_STORE_TYPE names the engine and OPAL_UPDATE_SOURCE where updates come from; `cabochon plugins` shows
    what there is to choose from, `cabochon agent print-config` what would run.
    """


agent.add_command(print_config)


@agent.command(cls=WithTopics)
def run() -> None:
    """Run until SIGTERM or Ctrl-C, or until an update source that can end has ended.

    SIGTERM lets the current commit and one last one finish, tries every waiting report once, and exits within 10 s.

    \b
    Examples:
      OPAL_POLICY_STORE_TYPE=MOCK OPAL_UPDATE_SOURCE=local OPAL_LOCAL_UPDATES=updates.jsonl cabochon agent run
    """  # noqa: D301 - click's mark for text that is not to be wrapped
    settings = load_settings(CoreSettings)
    plugins = load_agent_plugins(settings)
    anyio.run(_run, plugins, settings)


def load_agent_plugins(settings: CoreSettings) -> Plugins:
    """Load what is installed, and warn of variables that nobody reads and of fetch providers that nobody loads."""
    plugins = Plugins.load(disabled=settings.plugins_disabled, trace=settings.plugins_trace)
    models = [CoreSettings, *(model for _, model in plugins.settings_models())]
    warn_of_unknown_variables(os.environ, models)
    warn_of_modules(settings.fetch_provider_modules)
    return plugins


async def _run(plugins: Plugins, settings: CoreSettings) -> None:
    async with open_agent(plugins, settings) as running, anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signals, running)
        await running.run_until_source_ends()
        tasks.cancel_scope.cancel()


async def _stop_on_signals(running: Agent) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            running.stop()
