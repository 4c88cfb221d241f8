"""The command `cabochon demo`."""

from __future__ import annotations

import os
import sys
from functools import partial

import anyio
import click
from rich.console import Console

from cabochon import Plugins, load_settings
from cabochon.logs.setup import configure_logging
from cabochon.settings.core import DiscoverySettings, LogSettings
from cabochon_demo.live_show import LiveShow
from cabochon_demo.run import Outcome, UnsuitableStoreError, run_demo
from cabochon_demo.show import PlainShow, Show
from cabochon_demo.summary import as_json, print_summary

__all__ = ["demo"]

_UNSUITABLE = 2


@click.command
@click.option("--store", default="MOCK", show_default=True, metavar="NAME", help="The policy store to show it with.")
@click.option("--plain", is_flag=True, help="Write lines instead of drawing a screen; so it is without a terminal.")
@click.option("--json", "json_", is_flag=True, help="Show nothing, and write how it went as JSON.")
@click.option("--fast", is_flag=True, help="Make no pauses.")
@click.pass_context
def demo(ctx: click.Context, *, store: str, plain: bool, json_: bool, fast: bool) -> None:
    r"""Show the whole idea in about 15 seconds, offline.

    A made-up company's base data is fetched over HTTP, live updates arrive, a source and a callback fail and recover,
    and someone wipes the engine. Each step says what it promises and checks it. Everything is real but the company:
    the agent, HTTP on 127.0.0.1, and the policy store, by default an engine in memory.

    The company is written to /users, /roles and /resources of the store, and deleted in between: name only an engine
    that you can spare.

    Exits with 0 if every promise held, 1 if one did not, 2 if it can't be shown with this store.
    """
    _quiet()
    # The sources are on this machine: no proxy of the environment can reach them.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    console = Console(highlight=False)
    discovery = load_settings(DiscoverySettings)
    plugins = Plugins.load(disabled=discovery.plugins_disabled, trace=discovery.plugins_trace)
    show_on = Show if json_ else PlainShow if plain or not console.is_terminal else partial(LiveShow, console=console)
    try:
        outcome = anyio.run(partial(run_demo, plugins, show_on, store=store, environ=os.environ, fast=fast))
    except UnsuitableStoreError as err:
        click.echo(f"cabochon: {err}", err=True)
        ctx.exit(_UNSUITABLE)
    _print(outcome, console, json_=json_)
    ctx.exit(0 if outcome.board.held else 1)


def _print(outcome: Outcome, console: Console, *, json_: bool) -> None:
    if json_:
        click.echo(as_json(outcome))
    else:
        sys.stdout.flush()
        print_summary(outcome, console)


def _quiet() -> None:
    """Log only what the operator asked for: the demo's failures are meant to happen, and it shows them itself."""
    settings = load_settings(LogSettings)
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "CRITICAL"})
    configure_logging(settings)
