"""`cabochon agent print-config`: the agent that would run, and the settings that are in force for it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import click

from cabochon import __version__
from cabochon.cli.plugins import installed_plugins
from cabochon.errors import CabochonError, ConfigurationError
from cabochon.plugins.installed import PluginOffer, Plugins
from cabochon.settings.core import CoreSettings, load_settings
from cabochon.settings.page import SettingRow, UnknownVariable, setting_rows, unknown_variables

__all__ = ["AgentConfig", "agent_config", "print_config"]

_Offer: TypeAlias = PluginOffer[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """What an agent would be, if it started now.

    Attributes:
        store: the policy store; None if there is none to choose.
        source: the update source; None if there is none to choose.
        plugins: the short names of the plugins that take part.
        rows: the settings of the core and of what takes part, the chosen store and source among them.
        unknown: variables that nothing installed reads.
        problems: why it would not start, one line each.
    """

    store: _Offer | None
    source: _Offer | None
    plugins: tuple[str, ...]
    rows: tuple[SettingRow, ...]
    unknown: tuple[UnknownVariable, ...]
    problems: tuple[str, ...]


def agent_config(plugins: Plugins, environ: Mapping[str, str]) -> AgentConfig:
    """Find out what would take part and which settings would be in force; opens and changes nothing."""
    problems = list(plugins.conflicts)
    try:
        settings = load_settings(CoreSettings, environ)
    except ConfigurationError:
        settings = CoreSettings()  # its rows say what is wrong
    chosen: list[_Offer | None] = []
    for choose, name in (
        (plugins.choose_policy_store, environ.get("OPAL_POLICY_STORE_TYPE") or settings.policy_store_type),
        (plugins.choose_update_source, environ.get("OPAL_UPDATE_SOURCE") or settings.update_source),
    ):
        try:
            chosen.append(choose(name))
        except CabochonError as err:
            problems += str(err).splitlines()
            chosen.append(None)
    store, source = chosen
    parts = [one for one in (store, source) if one is not None]
    parts += [*plugins.fetchers.values(), *plugins.callback_reporters.values()]
    if store is not None:
        parts += plugins.transaction_listeners_for(store.name)
        parts += plugins.services_for(store.name)
        parts += plugins.http_routes_for(store.name)
    models = dict.fromkeys((one.plugin, one.registration.settings) for one in parts if one.registration.settings)
    rows = setting_rows([("core", CoreSettings), *models], environ)
    everything = setting_rows([("core", CoreSettings), *plugins.settings_models()], environ)
    return AgentConfig(
        store=store,
        source=source,
        plugins=tuple(sorted({one.plugin for one in parts})),
        rows=tuple(_with_choice(row, store, source) for row in rows),
        unknown=tuple(unknown_variables(environ, {name for row in everything for name in row.variables})),
        problems=(*problems, *dict.fromkeys(row.problem for row in rows if row.problem)),
    )


def _with_choice(row: SettingRow, store: _Offer | None, source: _Offer | None) -> SettingRow:
    """Show what was chosen where nothing is said."""
    chosen = {"OPAL_POLICY_STORE_TYPE": store, "OPAL_UPDATE_SOURCE": source}.get(row.variable)
    return row if chosen is None or row.source == "environment" else replace(row, value=chosen.name)


@click.command("print-config")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.option("--env", "as_env", is_flag=True, help="Write assignments that a shell can source.")
@click.pass_context
def print_config(ctx: click.Context, *, as_json: bool, as_env: bool) -> None:
    """Show the agent that would run: its store, source, plugins and settings.

    Nothing is opened or changed. Secrets are masked; with --env they are left out, and defaults are comments. Exits
    with 1 if the agent would not start, with a line for each reason.
    """
    found = agent_config(installed_plugins(), os.environ)
    if as_json and as_env:
        raise click.UsageError("--json or --env: one of them")
    if as_json:
        click.echo(json.dumps(_as_document(found), indent=2))
    else:
        for line in _assignments(found) if as_env else _lines(found):
            click.echo(line)
    for said in (*found.unknown, *found.problems):
        click.echo(f"cabochon: {said}", err=True)
    if found.problems:
        ctx.exit(1)


def _as_document(found: AgentConfig) -> dict[str, object]:
    return {
        "version": __version__,
        "policy_store": _origin(found.store),
        "update_source": _origin(found.source),
        "plugins": found.plugins,
        "settings": [{"variable": row.variable, **asdict(row)} for row in found.rows],
        "unread": [{"variable": one.name, "why": one.why, "did_you_mean": one.nearest} for one in found.unknown],
        "problems": found.problems,
    }


def _origin(offer: _Offer | None) -> dict[str, str] | None:
    if offer is None:
        return None
    return {"name": offer.name, "distribution": offer.distribution, "version": offer.version}


def _about(found: AgentConfig) -> Iterator[tuple[str, str]]:
    yield "cabochon", __version__
    for what, offer in (("policy store", found.store), ("update source", found.source)):
        yield what, f"{offer.name}, from {offer.distribution} {offer.version}" if offer is not None else "none"
    yield "plugins", ", ".join(found.plugins)


def _lines(found: AgentConfig) -> Iterator[str]:
    for what, value in _about(found):
        yield f"{click.style(f'{what:<14}', bold=True)} {value}"
    yield ""
    for row in _once(found):
        value = f"{row.value}  (default)" if row.source == "default" else click.style(row.value, fg="green")
        yield f"{row.variable}={value}"


def _assignments(found: AgentConfig) -> Iterator[str]:
    for what, value in _about(found):
        yield f"# {what}: {value}"
    for row in _once(found):
        if row.masked:
            yield f"# {row.variable} is set, and not shown: it may hold a secret"
        elif row.source == "default":
            yield f"# {row.variable}={shlex.quote(row.value)}"
        else:
            used = next(name for name in row.variables if os.environ.get(name))
            yield f"export {used}={shlex.quote(os.environ[used])}"


def _once(found: AgentConfig) -> list[SettingRow]:
    """Leave one row of each variable; several plugins may read it."""
    return list({row.variable: row for row in found.rows}.values())
