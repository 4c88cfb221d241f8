"""The core's wheel with nothing beside it: every module is imported, or says in one line which extra it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "src" / "cabochon"
MODULES = sorted(
    ".".join(path.relative_to(CORE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in CORE.rglob("*.py")
    if path.name != "__main__.py" and "testing" not in path.parts
)
# Their classes are built on such a library; all others need none, or import it when it is used.
NEED_HTTP = ["cabochon.kit.http.auth", "cabochon.kit.http.engine"]
NEED_WEB = ["cabochon.kit.web.prometheus"]
IMPORT_ALL = """
import importlib, json, sys
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as err:
        failed[name] = f"{type(err).__name__}: {err}"
print(json.dumps(failed))
"""

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(300)]


def run(*command: str) -> str:
    """What a command that has to succeed says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_every_module_is_imported_or_names_its_extra(tmp_path: Path) -> None:
    """
    `pip install cabochon` gives a core without holes, and `cabochon[http,web]` one with everything in it.
    """
    uv, here = str(Path(sys.executable).with_name("uv")), str(tmp_path / "venv" / "bin" / "python")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT / "core"))
    (wheel,) = tmp_path.glob("*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv"))
    install = (uv, "pip", "install", "--quiet", "--python", here, "-c", str(ROOT / "constraints.txt"))

    run(*install, str(wheel))
    assert json.loads(run(here, "-c", IMPORT_ALL, *MODULES)) == {
        name: f"ImportError: {library} is not installed: pip install 'cabochon[{extra}]' brings it"
        for names, library, extra in [(NEED_HTTP, "httpx", "http"), (NEED_WEB, "prometheus_client", "web")]
        for name in names
    }

    run(*install, f"{wheel}[http,web]")
    assert {} == json.loads(run(here, "-c", IMPORT_ALL, *MODULES))
