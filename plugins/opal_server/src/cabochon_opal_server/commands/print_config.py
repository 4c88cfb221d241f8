"""`cabochon server print-config`: the server that would run, and the settings that are in force for it."""

from __future__ import annotations

import os

import click
from pydantic_settings import BaseSettings

from cabochon import CabochonError, Plugins, load_settings
from cabochon.settings.core import DiscoverySettings
from cabochon.settings.page import setting_rows, unknown_variables
from cabochon_opal_server import __version__
from cabochon_opal_server.all_settings import AllServerSettings
from cabochon_opal_server.settings import ServerSettings

__all__ = ["print_config"]


@click.command("print-config")
@click.pass_context
def print_config(ctx: click.Context) -> None:
    """Show the server that would run: its log and its settings.

    Nothing is opened or changed, and secrets are masked. Exits with 1 if the server would not start, with a line for
    each reason.
    """
    discovery = load_settings(DiscoverySettings)
    plugins = Plugins.load(disabled=discovery.plugins_disabled)
    models: list[tuple[str, type[BaseSettings]]] = [("opal-server", AllServerSettings)]
    problems: list[str] = []
    name = "none"
    try:
        backbone = plugins.backbone_for(load_settings(ServerSettings).broadcast_uri or "sqlite:")
        name = f"{backbone.name}, from {backbone.distribution} {backbone.version}"
        if backbone.registration.settings is not None:
            models.append((backbone.plugin, backbone.registration.settings))
    except CabochonError as err:
        problems += str(err).splitlines()
    rows = list({row.variable: row for row in setting_rows(models, os.environ)}.values())
    problems += [row.problem for row in rows if row.problem]
    click.echo(f"{'cabochon server':<16} {__version__}\n{'update log':<16} {name}\n")
    for row in rows:
        click.echo(f"{row.variable}={row.value}{'  (default)' if row.source == 'default' else ''}")
    everything = setting_rows(plugins.settings_models(), os.environ)
    for unknown in unknown_variables(os.environ, {name for row in everything for name in row.variables}):
        click.echo(f"cabochon: {unknown}", err=True)
    for problem in dict.fromkeys(problems):
        click.echo(f"cabochon: {problem}", err=True)
    if problems:
        ctx.exit(1)
