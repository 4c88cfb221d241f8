"""OPAL's environment variables beside ours: the catalogue that ships with the core, and the page made of it.

    python docs/environment.py PYTHON     take names and defaults from the OPAL that is installed for that Python

`make docs` writes the rest: which distribution reads each name, from the settings models in this repository, and
docs/reference/environment.md. Reasons are written by hand, into the catalogue.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from pydantic_settings import BaseSettings

from cabochon.settings.page import SettingRow, setting_rows
from cabochon.settings.peer_variables import SERVER, PeerVariable, peer_variables

__all__ = ["CATALOGUE", "PEER_ASKED", "catalogue", "page", "text_of"]

CATALOGUE = Path(__file__).parents[1] / "core/src/cabochon/settings/opal_variables.json"
PEER_ASKED = Path(__file__).with_name("peer_variables.py")
Models = Iterable[tuple[str, type[BaseSettings]]]

_ABOUT = """\
Every environment variable that OPAL 0.9.6 reads: its client, its server, and the package that they share.
`python docs/environment.py` takes the names and defaults from OPAL's own declarations, and tests compare them with an OPAL that is installed and with the settings of this repository.
What a variable means here is on the [page of settings](settings.md), and how to move is told in [Move from OPAL](../how-to/move-from-opal.md).
"""  # noqa: E501 - one sentence on a line
_UNSUPPORTED = """\
If one of these is set, the agent starts all the same and logs `setting.unsupported` with the reason.
"""


# ------------------------------------------------------------------------------------------------------- the catalogue


def catalogue(models: Models) -> dict[str, PeerVariable]:
    """Return the catalogue with the distributions that read each name, as the models say."""
    readers: dict[str, set[str]] = {}
    for row in setting_rows(models, {}):
        for name in row.variables:
            readers.setdefault(name, set()).add("cabochon" if row.owner == "core" else f"cabochon-{row.owner}")
    return {
        name: msgspec.structs.replace(variable, by=tuple(sorted(readers.get(name, ()))))
        for name, variable in sorted(peer_variables().items())
    }


def text_of(variables: Mapping[str, PeerVariable]) -> str:
    """Write the catalogue as its file has it: one variable on a line."""
    lines = (f"  {json.dumps(name)}: {_line(one)}" for name, one in sorted(variables.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(variable: PeerVariable) -> str:
    return json.dumps(msgspec.to_builtins(variable), ensure_ascii=False)


def declared_by(python: str) -> dict[str, PeerVariable]:
    """Ask the OPAL that is installed for this Python for its variables; `by` and `reason` are empty."""
    done = subprocess.run([python, str(PEER_ASKED)], check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout.partition("DECLARED")[2])["variables"]
    return {name: msgspec.convert(one, PeerVariable) for name, one in found.items()}


def _taken_from(python: str) -> dict[str, PeerVariable]:
    """Return the catalogue with OPAL's names and defaults; those of a server that is not installed stay."""
    declared = declared_by(python)
    known = peer_variables()
    if all(one.declared != SERVER for one in declared.values()):
        declared |= {name: one for name, one in known.items() if one.declared == SERVER}
    return {
        name: msgspec.structs.replace(one, by=known[name].by, reason=known[name].reason) if name in known else one
        for name, one in declared.items()
    }


# ------------------------------------------------------------------------------------------------------------ the page


def page(models: Models, note: str) -> str:
    """Write docs/reference/environment.md."""
    models = list(models)
    variables = catalogue(models)
    rows = {name: row for row in setting_rows(models, {}) for name in row.variables}
    read = {name: one for name, one in variables.items() if one.by}
    unread = {name: one for name, one in variables.items() if not one.by}
    parts = [f"# OPAL's environment variables\n\n{note}\n", _ABOUT]
    parts.append(f"## Supported\n\n{_table_of_read(read, rows)}")
    parts.append(f"## Not supported, and why\n\n{_UNSUPPORTED}\n{_table_of_reasons(unread)}")
    return "\n".join(parts)


def _table_of_read(read: Mapping[str, PeerVariable], rows: Mapping[str, SettingRow]) -> str:
    table = ["| variable | read by | OPAL's default | default here |", "| --- | --- | --- | --- |"]
    for name, one in read.items():
        by = ", ".join(f"`{reader}`" for reader in one.by)
        ours = rows[name].default
        here = "the same" if _same(one.default, ours) else _value(ours)
        table.append(f"| `{name}` | {by} | {_value(one.default)} | {here} |")
    return "\n".join(table) + "\n"


def _table_of_reasons(unread: Mapping[str, PeerVariable]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, one in unread.items():
        by_reason.setdefault(one.reason, []).append(f"`{name}`")
    table = ["| variable | why not |", "| --- | --- |"]
    table += [f"| {', '.join(names)} | {_cell(reason)} |" for reason, names in by_reason.items()]
    return "\n".join(table) + "\n"


def _same(theirs: str, ours: str) -> bool:
    try:
        return json.loads(theirs) == json.loads(ours)
    except ValueError:
        return theirs == ours


def _value(text: str) -> str:
    return f"`{_cell(text)}`" if text else "not set"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    CATALOGUE.write_text(text_of(_taken_from(sys.argv[1])), "utf-8")
