"""Write the pages of the documentation that follow from the code, or say which of them are stale.

    python docs/generate.py            write them
    python docs/generate.py --check    exit with 1 if one is not as it would be written

Settings come from the models of the core and of the plugins in this repository, commands from click's own help, the
sections on hooks in docs/plugins.md from the docstrings of the contract. OPAL's variables beside ours, the page and the
catalogue that ships with the core, are docs/environment.py's.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from pydantic_settings import BaseSettings

from cabochon.cli.commands import CORE_COMMANDS
from cabochon.cli.main import HELP
from cabochon.contract import hookspecs
from cabochon.contract.agent_context import AgentContext
from cabochon.contract.backbone import Backbone
from cabochon.contract.callback_reporter import CallbackReporter
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.transaction_listener import TransactionListener
from cabochon.contract.update_source import UpdateSource
from cabochon.plugins import kinds as registrations
from cabochon.plugins.installed import Plugins
from cabochon.settings.core import CoreSettings
from cabochon.settings.page import SettingRow, setting_rows

__all__ = ["pages", "sentences"]

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # tests load this file by its path
import environment  # noqa: E402

_BEGIN, _END = "<!-- hooks: written by docs/generate.py -->", "<!-- end of hooks -->"
_NOTE = "<!-- Written by docs/generate.py: change the code, then `make docs`. -->"
_ABOUT_SETTINGS = """\
Settings are environment variables.
All start with `OPAL_`; where OPAL has a variable of that meaning, it has the same name here.
An empty variable counts as not set.
Time is in seconds, and may have a fraction.
`cabochon config` shows them all with the values in force, and where each comes from.
"""
_ABOUT_COMMANDS = """\
A command exits with 0 if all went well, with 1 after an error or a check that failed, with 2 if it was used wrong, and with 130 after Ctrl-C.
Errors are one line each on standard error, and begin with `cabochon:`.
Logs go to standard error too, results to standard output.
"""  # noqa: E501 - one sentence on a line
_BEHIND: Mapping[str, type] = {
    "cabochon_policy_stores": PolicyStore,
    "cabochon_fetchers": Fetcher,
    "cabochon_update_sources": UpdateSource,
    "cabochon_transaction_listeners": TransactionListener,
    "cabochon_callback_reporters": CallbackReporter,
    "cabochon_services": AgentContext,
    "cabochon_http_routes": AgentContext,
    "cabochon_backbones": Backbone,
}


def pages() -> dict[Path, str]:
    """Every generated page with its text as it should be."""
    plugins = _plugins_of_this_repository()
    models = [("core", CoreSettings), *plugins.settings_models()]
    guide = DOCS / "plugins.md"
    before, _, rest = guide.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    return {
        DOCS / "reference/settings.md": _settings(models),
        DOCS / "reference/cli.md": _commands(plugins),
        DOCS / "reference/environment.md": environment.page(models, _NOTE),
        environment.CATALOGUE: environment.text_of(environment.catalogue(models)),
        guide: f"{before}{_BEGIN}\n\n{_hooks()}\n{_END}{after}",
    }


def _plugins_of_this_repository() -> Plugins:
    names = {f"cabochon-{path.parent.name.replace('_', '-')}" for path in DOCS.parent.glob("plugins/*/pyproject.toml")}
    found = [one for one in entry_points(group="cabochon") if one.dist is not None and one.dist.name in names]
    return Plugins.load(found=found)


# -------------------------------------------------------------------------------------------------------- settings


def _settings(models: list[tuple[str, type[BaseSettings]]]) -> str:
    by_owner: dict[str, list[SettingRow]] = {}
    for row in setting_rows(models, {}):
        by_owner.setdefault(row.owner, []).append(row)
    parts = [
        f"# Settings\n\n{_NOTE}\n",
        _ABOUT_SETTINGS,
    ]
    for owner in sorted(by_owner, key=lambda one: (one != "core", one)):
        title = "The core" if owner == "core" else f"Plugin {owner}"
        table = ["| variable | default | meaning |", "| --- | --- | --- |"]
        for row in by_owner[owner]:
            older = "".join(f" Older name: `{name}`." for name in row.variables[1:])
            default = f"`{row.default}`" if row.default else "not set"
            table.append(f"| `{row.variable}` | {_cell(default)} | {_cell(row.meaning)}{older} |")
        parts.append(f"## {title}\n\n" + "\n".join(table) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# -------------------------------------------------------------------------------------------------------- commands


def _commands(plugins: Plugins) -> str:
    from importlib import import_module  # noqa: PLC0415

    def core(target: str) -> click.Command:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)

    found = {name: (core(one.target), "") for name, one in CORE_COMMANDS.items()}
    found |= {one.name: (one.registration.load(), one.plugin) for one in plugins.commands.values()}
    help_text = HELP.replace("\b\n", "").strip()
    parts = [
        f"# Commands\n\n{_NOTE}\n",
        _ABOUT_COMMANDS,
        f"## `cabochon`\n\n```text\n{help_text}\n```\n",
    ]
    for name, (command, plugin) in sorted(found.items()):
        parts += list(_described(command, f"cabochon {name}", plugin))
    return "\n".join(parts)


def _described(command: click.Command, path: str, plugin: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, terminal_width=100, help_option_names=["-h", "--help"])
    whence = f"From the plugin `{plugin}`.\n\n" if plugin else ""
    lines = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"## `{path}`\n\n{whence}```text\n{lines}\n```\n"
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from _described(inner, f"{path} {name}", plugin)


# ----------------------------------------------------------------------------------------------------------- hooks


def _hooks() -> str:
    return "\n".join(_hook(kind) for kind in registrations.KINDS)


def _hook(kind: registrations.OfferKind[Any]) -> str:
    function = getattr(hookspecs, kind.hook)
    doc = _parts(inspect.getdoc(function) or "")
    parts = [
        f"### `{kind.hook}`\n",
        f"`{kind.hook}() -> Iterable[{kind.type.__name__}]`: no arguments.\n",
        sentences(doc[""]) + "\n",
        sentences(re.sub(r"^Zero", "It returns zero", doc["Returns"])) + "\n",
        f"{_registration(kind.type)}\n",
    ]
    behind = _BEHIND.get(kind.hook)
    if behind is not None:
        parts.append(_object(behind))
    parts.append("If it goes wrong: " + sentences(doc["Errors"][0].lower() + doc["Errors"][1:]) + "\n")
    about, _, code = doc["Example"].partition("\n\n")
    # What is installed by nobody who reads only this page is left to the example's own tests.
    mark = "<!-- not run: it needs the example -->\n\n" if "`examples/" in about else ""
    parts.append(f"{sentences(about).strip()}\n\n{mark}```python\n{inspect.cleandoc(code)}\n```\n")
    return "\n".join(parts)


def _parts(doc: str) -> dict[str, str]:
    """Cut a docstring at its sections; the first part has no title."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in doc.splitlines():
        heading = re.fullmatch(r"(Returns|Errors|Example|Attributes|Args|Raises):", line)
        if heading:
            title = heading[1]
            found[title] = []
        else:
            found[title].append(line)
    return {title: inspect.cleandoc("\n".join(lines)).strip() for title, lines in found.items()}


def _registration(kind: type) -> str:
    meanings = _members(_parts(inspect.getdoc(kind) or "").get("Attributes", ""))
    table = [f"| `{kind.__name__}` | default | meaning |", "| --- | --- | --- |"]
    for one in fields(kind):
        default = "required" if one.default is MISSING else f"`{one.default!r}`"
        table.append(f"| `{one.name}` | {default} | {_cell(meanings.get(one.name, ''))} |")
    return "\n".join(table)


def _members(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        start = re.match(r"(\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name:
            found[name] += f" {line.strip()}"
    return found


def _object(behind: type) -> str:
    if behind is AgentContext:
        rows = [
            (f"`{one}`", text) for one, text in _members(_parts(inspect.getdoc(behind) or "")["Attributes"]).items()
        ]
    else:
        rows = [(_signature(one), _first(getattr(behind, one))) for one in vars(behind) if not one.startswith("_")
                and inspect.isfunction(getattr(behind, one))]  # fmt: skip
    table = [f"| `{behind.__name__}` | |", "| --- | --- |", *(f"| {name} | {_cell(text)} |" for name, text in rows)]
    return "\n".join(table) + "\n"


def _signature(name: str) -> str:
    function = next(vars(kind)[name] for kind in _BEHIND.values() if name in vars(kind))
    return f"`{'async ' if inspect.iscoroutinefunction(function) else ''}{name}{inspect.signature(function)}`".replace(
        "(self, ", "("
    ).replace("(self)", "()").replace("'", "")  # fmt: skip


def _first(function: object) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def sentences(text: str) -> str:
    """Lay paragraphs out with one sentence on a line."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(re.sub(r"(?<=[.:?!]) (?=[A-Z`])", "\n", one).replace(":\n", ": ") for one in paragraphs)


def main() -> None:
    """Do what the command line asks for."""
    stale = [page for page, text in pages().items() if not page.exists() or page.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"stale: {page.relative_to(DOCS.parent)}; make docs writes it")
        sys.exit(bool(stale))
    for page, text in pages().items():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
