"""What this plugin offers: the command `cabochon server`, and the log in SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cabochon import BackboneType, CommandType, hookimpl
from cabochon_opal_server.all_settings import AllServerSettings
from cabochon_opal_server.log.backbone import SQLITE

__all__ = ["cabochon_backbones", "cabochon_commands"]


def _server() -> click.Command:
    from cabochon_opal_server.commands.server_cli import server  # noqa: PLC0415 - imported when it is used

    return server


def _publish() -> click.Command:
    from cabochon_opal_server.commands.publish import publish  # noqa: PLC0415 - so is this

    return publish


@hookimpl
def cabochon_backbones() -> Iterator[BackboneType]:
    """Offer the log of one server."""
    yield SQLITE


@hookimpl
def cabochon_commands() -> Iterator[CommandType]:
    """Offer `cabochon server` and `cabochon publish`."""
    yield CommandType(
        name="server",
        summary="Run the server that publishes policy and data updates to agents.",
        load=_server,
        settings=AllServerSettings,
    )
    yield CommandType(
        name="publish",
        summary="Publish a data update, and wait until every agent has it.",
        load=_publish,
    )
