"""Write the public names of the core into `cabochon/__init__.py`, or say that they are not as they would be written.

    python docs/face.py            write them
    python docs/face.py --check    exit with 1 if they are not as they would be written

A name is public if a module below has it in its `__all__`. The face needs each name three times: for type checkers, for
people, and for its import when it is first used. This reads the modules and imports none, since they may use the face.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["FACE", "as_written"]

CORE = Path(__file__).parents[1] / "core/src/cabochon"
FACE = CORE / "__init__.py"
_WHOLE = (
    *sorted(f"contract.{path.stem}" for path in (CORE / "contract").glob("[!_]*.py")),
    "documents.json_patch",
    "documents.path",
    "errors",
    "plugins.installed",
    "settings.core",
    *sorted(f"transactions.{path.stem}" for path in (CORE / "transactions").glob("[!_]*.py")),
)
# What these modules offer to plugins; the rest of their `__all__` is for the core and its documentation.
_PART: Mapping[str, Sequence[str]] = {
    "contract.command": ["CommandType"],
    "contract.hookspecs": ["hookimpl"],
    "contract.metrics": ["Durations", "Metrics"],
    "documents.json_patch": ["PatchOperation"],
    "plugins.installed": ["InstalledPlugin", "PluginOffer", "Plugins"],
    "settings.core": ["CommaList", "Masked", "Seconds", "Settings", "load_settings"],
}


def as_written() -> str:
    """The face as it should be: its three lists of names made anew, all else as it is."""
    homes = {module: _offered(module) for module in _WHOLE}
    imports = "".join(f"    from cabochon.{module} import {', '.join(offered)}\n" for module, offered in homes.items())
    names = sorted(["__version__", *(name for offered in homes.values() for name in offered)])
    text = FACE.read_text("utf-8")
    for begin, end, new in (
        ("if TYPE_CHECKING:\n", "__version__", imports + "\n"),
        ("__all__ = [\n", "]", "".join(f'    "{name}",\n' for name in names)),
        (
            "_HOMES = {\n",
            "}",
            "".join(f"    {module!r}: {tuple(offered)!r},\n" for module, offered in homes.items()),
        ),
    ):
        text = re.sub(
            f"(?<={re.escape(begin)}).*?(?=^{re.escape(end)})", new, text, count=1, flags=re.DOTALL | re.MULTILINE
        )
    return _tidy(text)


def _offered(module: str) -> Sequence[str]:
    tree = ast.parse((CORE / module.replace(".", "/")).with_suffix(".py").read_text("utf-8"))
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    part = _PART.get(module, names)
    if missing := set(part) - set(names):
        raise SystemExit(f"cabochon.{module} does not offer {', '.join(sorted(missing))}: change _PART in {__file__}")
    return part


def _tidy(text: str) -> str:
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    for command in (["check", "--quiet", "--fix", "--select", "I,RUF022"], ["format", "--quiet"]):
        command += ["--stdin-filename", str(FACE), "-"]
        text = subprocess.run([*ruff, *command], input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    wanted = as_written()
    if "--check" in sys.argv[1:]:
        sys.exit(None if wanted == FACE.read_text("utf-8") else f"{FACE.name} of the core is stale: make docs")
    FACE.write_text(wanted, "utf-8")
