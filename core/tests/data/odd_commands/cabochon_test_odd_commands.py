"""A plugin with a command that another one has too, and one that is no command."""

from collections.abc import Iterable
from typing import cast

import click

from cabochon import CommandType, hookimpl


def load_nothing() -> click.Command:
    return cast("click.Command", "nothing")


@hookimpl
def cabochon_commands() -> Iterable[CommandType]:
    yield CommandType(name="greet", summary="Say hello, too", load=load_nothing)
    yield CommandType(name="nothing", summary="Be no command", load=load_nothing)
