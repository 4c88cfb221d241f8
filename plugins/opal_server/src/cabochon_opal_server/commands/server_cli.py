"""`cabochon server`: the server in the foreground."""

from __future__ import annotations

import signal

import anyio
import click

from cabochon import Plugins, load_settings
from cabochon.settings.core import DiscoverySettings
from cabochon_opal_server.commands.print_config import print_config
from cabochon_opal_server.commands.token_commands import generate_secret, obtain_token
from cabochon_opal_server.server import Server, open_server
from cabochon_opal_server.settings import ServerSettings

__all__ = ["server"]


@click.group()
def server() -> None:
    """Run the server that publishes policy and data updates to agents.

    It takes the place of `opal-server`: the same variables, routes and protocol, for agents of Cabochon and for OPAL's
    clients alike.
    """


@server.command()
def run() -> None:
    """Run until SIGTERM or Ctrl-C.

    \b
    Examples:
      cabochon server run
      OPAL_SERVER_HOST=0.0.0.0 OPAL_POLICY_REPO_URL=https://github.com/example/policies cabochon server run
    """  # noqa: D301 - click's mark for text that is not to be wrapped
    settings = load_settings(ServerSettings)
    discovery = load_settings(DiscoverySettings)
    plugins = Plugins.load(disabled=discovery.plugins_disabled, trace=discovery.plugins_trace)
    anyio.run(_run, plugins, settings, backend="asyncio")


async def _run(plugins: Plugins, settings: ServerSettings) -> None:
    async with open_server(plugins, settings) as running, anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signals, running)
        await running.run()
        tasks.cancel_scope.cancel()


async def _stop_on_signals(running: Server) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            running.stop()


server.add_command(generate_secret)
server.add_command(obtain_token)
server.add_command(print_config)
