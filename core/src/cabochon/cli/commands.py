"""The commands that the core brings itself: add one here and to `RESERVED_COMMANDS`; it is imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CORE_COMMANDS", "CoreCommand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreCommand:
    """A command of the core.

    Attributes:
        summary: one line for `cabochon --help`.
        target: `module:attribute`, imported when the command is used.
        quiet: log errors only, unless `OPAL_LOG_LEVEL` says otherwise: the command shows itself how things went.
    """

    summary: str
    target: str
    quiet: bool = False


CORE_COMMANDS: Final[dict[str, CoreCommand]] = {
    "agent": CoreCommand(
        summary="Run the agent that keeps a policy engine in sync.", target="cabochon.cli.agent:agent"
    ),
    "config": CoreCommand(summary="Show every setting: value, default, meaning.", target="cabochon.cli.config:config"),
    "plugins": CoreCommand(
        summary="Show every installed plugin, and what it offers.", target="cabochon.cli.plugins:plugins"
    ),
    "sync": CoreCommand(
        summary="Load base data into a policy store once, and show how it went.",
        target="cabochon.cli.sync:sync",
        quiet=True,
    ),
}
