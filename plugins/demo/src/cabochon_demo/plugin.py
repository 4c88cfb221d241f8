"""What this plugin offers: the command `cabochon demo`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cabochon import CommandType, hookimpl

__all__ = ["cabochon_commands"]


def _load() -> click.Command:
    from cabochon_demo.command import demo  # noqa: PLC0415 - imported when it is used

    return demo


@hookimpl
def cabochon_commands() -> Iterator[CommandType]:
    """Offer `cabochon demo`."""
    yield CommandType(name="demo", summary="Show the whole idea in about 15 seconds, offline.", load=_load)
