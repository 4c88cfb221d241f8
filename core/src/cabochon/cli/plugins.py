"""`cabochon plugins`: what is installed, what it offers, and what is wrong with it."""

from __future__ import annotations

import json

import click

from cabochon.plugins.installed import InstalledPlugin, Plugins
from cabochon.settings.core import DiscoverySettings, load_settings

__all__ = ["installed_plugins", "plugins"]

_COLOURS = {"loaded": "green", "blocked": "yellow", "failed": "red"}


def installed_plugins() -> Plugins:
    """Load what is installed, as the environment says; conflicts are for the caller to show."""
    settings = load_settings(DiscoverySettings)
    return Plugins.load(disabled=settings.plugins_disabled, trace=settings.plugins_trace, strict=False)


@click.command
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def plugins(ctx: click.Context, *, as_json: bool) -> None:
    """Show every installed plugin, and what it offers.

    A plugin is loaded, blocked (its name is in OPAL_PLUGINS_DISABLED) or failed, with the reason. The names it offers
    are what settings choose by, such as OPAL_POLICY_STORE_TYPE. Exits with 1 if two plugins claim one name: the agent
    would not start.
    """
    found = installed_plugins()
    if as_json:
        click.echo(json.dumps([_as_document(found, plugin) for plugin in found.installed], indent=2))
    elif found.installed:
        _print_table(found)
    else:
        click.echo("No plugin is installed. Plugins are distributions called cabochon-<name>: pip install one.")
    for line in found.conflicts:
        click.echo(f"cabochon: {line}", err=True)
    if found.conflicts:
        ctx.exit(1)


def _as_document(found: Plugins, plugin: InstalledPlugin) -> dict[str, object]:
    return {
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state,
        "reason": plugin.reason,
        "hooks": plugin.hooks,
        "offers": found.offered_by(plugin),
    }


def _print_table(found: Plugins) -> None:
    from rich.table import Table  # noqa: PLC0415 - only people who look at tables wait for it
    from rich.text import Text  # noqa: PLC0415

    from cabochon.cli.tables import print_table  # noqa: PLC0415

    table = Table("Plugin", "Distribution", "State", "Offers", box=None, pad_edge=False)
    for plugin in found.installed:
        offers = [f"{word} {', '.join(names)}" for word, names in found.offered_by(plugin).items()]
        table.add_row(
            Text(plugin.name),
            Text(f"{plugin.distribution} {plugin.version}"),
            Text(plugin.state, style=_COLOURS[plugin.state]),
            Text(plugin.reason or "\n".join(offers) or "nothing"),
        )
    print_table(table)
