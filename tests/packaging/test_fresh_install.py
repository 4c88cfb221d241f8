"""Wheels of every member and of the example, in a fresh environment, with plain pip: as a user has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
EXAMPLE = ROOT / "examples" / "plugin_sqlite_store"
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
INLINE = '[{"url": "", "dst_path": "/users", "data": {"bob": {"role": "admin"}}}]'

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600), pytest.mark.xdist_group("fresh-install")]


@dataclass(frozen=True)
class Fresh:
    """An environment outside the workspace, and the wheels that were installed into it."""

    folder: Path
    wheels: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, with no variable of Cabochon's but these."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "PYTHON"))}
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = clean | {"PATH": path, "COLUMNS": "200"} | variables
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def plugins(self) -> dict[str, str]:
        """The state of every plugin by name, as `cabochon plugins` says."""
        done = self.run("cabochon", "plugins", "--json")
        assert 0 == done.returncode, done.stderr
        return {plugin["plugin"]: plugin["state"] for plugin in json.loads(done.stdout)}


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """Build all wheels, install them with plain pip."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels)]
    for member in [*MEMBERS, EXAMPLE]:
        done = subprocess.run([*build, str(member)], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, f"{member.name}: {done.stdout}{done.stderr}"
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True)
    installed = Fresh(folder, wheels)
    done = installed.run("pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *map(str, wheels.glob("*")))
    assert 0 == done.returncode, done.stderr
    return installed


def test_every_plugin_is_found_in_a_fresh_environment(fresh: Fresh) -> None:
    """
    Plain pip is all it takes: every plugin of the workspace and the example are loaded.
    """
    states = fresh.plugins()

    assert {"loaded"} == set(states.values())
    assert {name.replace("_", "-") for name in PLUGINS} < set(states)
    assert "policy store sqlite" in fresh.run("cabochon", "plugins").stdout


def test_demo_runs_on_the_example_store(fresh: Fresh) -> None:
    """
    `cabochon demo --store sqlite` keeps all its promises with a store that nobody here wrote into it.
    """
    done = fresh.run("cabochon", "demo", "--store", "sqlite", "--plain", "--fast")

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", PLUGINS)
def test_rest_works_without_one_plugin(fresh: Fresh, name: str) -> None:
    """
    Whichever plugin is taken away, the others load, and a sync that does not need it works.
    """
    distribution = f"cabochon-{name.replace('_', '-')}"
    assert 0 == fresh.run("pip", "uninstall", "--quiet", "--yes", distribution).returncode
    try:
        states = fresh.plugins()
        synced = fresh.run("cabochon", "sync", "--store", "sqlite", "--sources", INLINE)
        configured = fresh.run("cabochon", "config", "--json")
    finally:
        (wheel,) = fresh.wheels.glob(f"{distribution.replace('-', '_')}-*.whl")
        assert 0 == fresh.run("pip", "install", "--quiet", "--no-deps", str(wheel)).returncode

    assert name.replace("_", "-") not in states
    assert {"loaded"} == set(states.values())
    assert 0 == synced.returncode, synced.stdout + synced.stderr
    assert 0 == configured.returncode, configured.stderr
