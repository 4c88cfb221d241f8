"""What a plugin may add to the `cabochon` command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import click
    from pydantic_settings import BaseSettings

__all__ = ["RESERVED_COMMANDS", "CommandType"]

RESERVED_COMMANDS: Final = ("agent", "config", "plugins", "sync")
"""Names that no plugin can have: they are the core's own commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandType:
    """Offer a command for the `cabochon` command line.

    Attributes:
        name: what a person types after `cabochon`; unique.
        summary: one line for `cabochon --help`.
        load: gives the click command; called only when the command is used, so that imports stay cheap.
        settings: settings that the command reads, listed by `cabochon config`.
    """

    name: str
    summary: str
    load: Callable[[], click.Command]
    settings: type[BaseSettings] | None = None
