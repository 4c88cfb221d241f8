"""The `cabochon` command.

Everything that takes time to import is imported by the command that needs it: the core's commands are named in
`CORE_COMMANDS` and loaded when used, and so are the plugins'.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

import click

from cabochon import __version__
from cabochon.cli.commands import CORE_COMMANDS
from cabochon.error_groups import configuration_error_in
from cabochon.errors import CabochonError, ConfigurationError, PluginConflictError, PluginLoadError

if TYPE_CHECKING:
    from cabochon.contract.command import CommandType
    from cabochon.plugins.installed import Plugins

__all__ = ["CommandLine", "main", "run"]

INTERRUPTED: Final = 130
"""The exit code that shells give to a program ended by Ctrl-C."""

HELP = """Keep policy engines in sync.

An agent runs beside a policy engine, follows an update source, and writes policies and data into the engine as they
change. Engines, sources and everything else that differs between installations are plugins: pip install
cabochon-<name> adds one, and OPAL_... environment variables choose and configure them.

\b
To find your way:
  cabochon plugins    what is installed, and what it offers
  cabochon config     every setting with its value, default and meaning
"""


class CommandLine(click.Group):
    """A group whose commands are listed by their summaries and loaded when used.

    `prepare` is called before anything is loaded, and told whether the command is a quiet one.
    """

    prepare: Callable[[bool], None] | None = None

    @cached_property
    def _plugins(self) -> Plugins:
        if self.prepare:
            self.prepare(False)
        from cabochon.cli.plugins import installed_plugins  # noqa: PLC0415 - loads every plugin

        return installed_plugins()

    def invoke(self, ctx: click.Context) -> int:
        """Run the command; what it returns says nothing about how it went."""
        super().invoke(ctx)
        return 0

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the core's commands, then the plugins'."""
        return [*sorted(CORE_COMMANDS), *(name for name, _summary in self._offered())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load one command, and no plugin if it is the core's own."""
        core = CORE_COMMANDS.get(cmd_name)
        if core is not None:
            if self.prepare:
                self.prepare(core.quiet)
            module, _, attribute = core.target.partition(":")
            return cast("click.Command", getattr(import_module(module), attribute))
        if cmd_name in self._plugins.commands:
            return self._loaded(cmd_name)
        contested = [line for line in self._plugins.conflicts if line.startswith(f"command {cmd_name.casefold()!r}")]
        if contested:
            raise PluginConflictError("\n".join(contested))
        return None

    def _loaded(self, name: str) -> click.Command:
        offered = self._plugins.commands[name]
        try:
            command = cast("object", offered.registration.load())
        except (Exception, SystemExit) as err:  # the guarded edge: whatever a stranger's command does when loaded
            message = f"the command {name!r} of plugin {offered} failed to load: {type(err).__name__}: {err}"
            raise PluginLoadError(message, plugin=offered.plugin) from err
        if not isinstance(command, click.Command):
            message = f"the command {name!r} of plugin {offered} is no click command but {type(command).__name__}"
            raise PluginLoadError(message, plugin=offered.plugin)
        return command

    def _offered(self) -> list[tuple[str, str]]:
        commands: Iterable[CommandType] = (one.registration for one in self._plugins.commands.values())
        return [(command.name, command.summary) for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List all commands by their summaries, loading none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in sorted(CORE_COMMANDS.items())])
        offered = self._offered()
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(offered)


def _command_line(prepare: Callable[[bool], None] | None) -> CommandLine:
    # Made anew for each run: it remembers the plugins that it loaded.
    command_line = CommandLine(
        "cabochon", help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
    )
    command_line.prepare = prepare
    return click.version_option(__version__, message="cabochon %(version)s")(command_line)


def run(arguments: Sequence[str], prepare: Callable[[bool], None] | None = None) -> int:
    """Run one command and return its exit code: 1 for an error, 2 for wrong usage, 130 for Ctrl-C.

    Args:
        arguments: the command and its options.
        prepare: called before any plugin or command is loaded, with whether the command is a quiet one.
    """
    try:
        code: object = _command_line(prepare).main(list(arguments), prog_name="cabochon", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except CabochonError as err:
        return _say(err)
    except BaseExceptionGroup as group:
        wrong_setting = configuration_error_in(group)
        if wrong_setting is None:
            raise
        return _say(wrong_setting)
    return code if isinstance(code, int) else 0


def _say(err: CabochonError) -> int:
    for line in str(err).splitlines():
        click.echo(f"cabochon: {line}", err=True)
    return 1


def main() -> None:
    """Run the command that the process was started with, and exit."""
    sys.exit(run(sys.argv[1:], prepare=_configure_logging))


def _configure_logging(quiet: bool) -> None:  # noqa: FBT001 - its one argument
    from cabochon.cli.lean_imports import load_without_rich  # noqa: PLC0415 - `--version` does without

    load_without_rich()
    from cabochon.logs.setup import configure_logging  # noqa: PLC0415
    from cabochon.settings.core import LogSettings, load_settings  # noqa: PLC0415

    try:
        settings = load_settings(LogSettings)
    except ConfigurationError:
        settings = LogSettings()  # a command that needs its settings will say what is wrong with them
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "ERROR"})
    configure_logging(settings)
