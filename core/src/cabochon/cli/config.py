"""`cabochon config`: every setting on one page."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import click

from cabochon.cli.plugins import installed_plugins
from cabochon.cli.topics import TOPICS, topics_of
from cabochon.errors import ConfigurationError
from cabochon.plugins.installed import Plugins
from cabochon.settings.core import CoreSettings
from cabochon.settings.page import SettingRow, setting_rows, unknown_variables

__all__ = ["config"]

_WIDEST = 100


@click.command
@click.option("--topic", type=click.Choice([topic.name for topic in TOPICS]), help="Only what is about this.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def config(ctx: click.Context, *, topic: str | None, as_json: bool) -> None:
    """Show every setting of the core and of all installed plugins.

    Settings are environment variables that start with OPAL_. Secrets are masked. Exits with 1 if a value is wrong, and
    warns of OPAL_ variables that nothing reads.
    """
    try:
        found = installed_plugins()
    except ConfigurationError:
        found = Plugins.load(strict=False)  # the page shows what is wrong
    rows = setting_rows([("core", CoreSettings), *found.settings_models()], os.environ)
    topics = topics_of(found)
    shown = [row for row in rows if topic in {None, topics[row.variable].name}]
    if as_json:
        click.echo(json.dumps([{"variable": row.variable, **asdict(row)} for row in shown], indent=2))
    else:
        _print(shown)
    for unknown in unknown_variables(os.environ, {name for row in rows for name in row.variables}):
        click.echo(f"cabochon: {unknown}", err=True)
    problems = [row.problem for row in rows if row.problem]
    for problem in problems:
        click.echo(f"cabochon: {problem}", err=True)
    if problems:
        ctx.exit(1)


def _print(rows: Sequence[SettingRow]) -> None:
    """Write `VARIABLE=value` and what it means below, readable at any width and easy to search."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for row in rows:
        given = row.source == "environment"
        colour = "red" if row.problem else "green" if given else None
        click.echo(click.style(row.variable, bold=True) + "=" + click.style(row.value, fg=colour))
        origin = f"from the environment, default: {row.default or 'not set'}" if given else "default"
        for line in (f"{row.owner}; {origin}", row.meaning):
            click.echo(textwrap.fill(line, width, initial_indent="    ", subsequent_indent="    "))
