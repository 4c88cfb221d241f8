"""Print every environment variable that OPAL's client and its common package read, as OPAL's own code declares them.

Run with the Python that has OPAL installed; needs nothing else:

    python docs/peer_variables.py

Writes one JSON object: `{"version": "0.9.6", "variables": {NAME: {"declared": PACKAGE, "default": TEXT}}}`. The
declarations are `OpalClientConfig` and `OpalCommonConfig` (and `OpalServerConfig` where the server is installed), whose
entries are read with an empty environment, so that defaults made of other settings are there; then whatever else the
packages' source reads from `os.environ`, or has as `envvar` of a command line.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONFIGS = {
    "opal_common": "opal_common_config",
    "opal_client": "opal_client_config",
    "opal_server": "opal_server_config",
}
ALSO_READ = ("fastapi_websocket_rpc", "fastapi_websocket_pubsub")
# Paths of the machine where the script runs, and a secret that is made anew each time, are no defaults of OPAL's.
HOME = str(Path.home())


def main() -> None:
    """Print what is declared by the packages that are installed."""
    for name in [name for name in os.environ if name.startswith("OPAL_")]:
        del os.environ[name]
    os.chdir("/")  # a `.env` or `settings.ini` of the working directory's would count as environment
    found: dict[str, dict[str, str]] = {}
    for package, config in CONFIGS.items():
        if find_spec(package) is not None:
            for name, default in _declared(package, config):
                found.setdefault(name, {"declared": package, "default": default})
    for package in [*CONFIGS, *ALSO_READ]:
        if find_spec(package) is not None:
            for name in _read_by(package):
                found.setdefault(name, {"declared": package, "default": ""})
    shown = {"version": version("opal-client"), "variables": dict(sorted(found.items()))}
    sys.stdout.write(f"DECLARED{json.dumps(shown)}\n")


def _declared(package: str, config: str) -> Iterator[tuple[str, str]]:
    declared: Any = getattr(importlib.import_module(f"{package}.config"), config)
    for attribute, entry in declared.entries.items():
        yield f"OPAL_{entry.key}", _shown(getattr(declared, attribute))


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a setting of OPAL's is
    """Write a default as one would set it; "" for none."""
    if value is None:
        return ""
    if hasattr(value, "value"):  # an enum
        return str(value.value)
    if hasattr(value, "json"):  # a pydantic model of either version
        return json.dumps(json.loads(value.json()))
    if isinstance(value, bool | list):
        return json.dumps(value)
    return str(value).replace(HOME, "~")


def _read_by(package: str) -> Iterator[str]:
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    for source in sorted(file for folder in folders for file in Path(folder).rglob("*.py")):
        if not {"tests", "test"}.intersection(source.parts):
            tree = ast.parse(source.read_text("utf-8"))
            yield from _names(tree)


def _names(tree: ast.Module) -> Iterator[str]:
    """Names in `os.environ[...]`, `os.environ.get(...)`, `os.getenv(...)` and `envvar=...`."""
    constants = {
        target.id: statement.value.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        asked: ast.expr | None = None
        match node:
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=asked):
                pass
            case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr="environ")), args=[asked, *_]):
                pass
            case ast.Call(func=ast.Attribute(attr="getenv"), args=[asked, *_]):
                pass
            case ast.keyword(arg="envvar", value=asked):
                pass
            case _:
                continue
        name = asked.value if isinstance(asked, ast.Constant) else constants.get(getattr(asked, "id", ""))
        if isinstance(name, str):
            yield name


if __name__ == "__main__":
    main()
