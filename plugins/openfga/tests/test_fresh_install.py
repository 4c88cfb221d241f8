"""The plugin alone, with the core and plain pip, as a user has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import httpx
import pytest

from cabochon_openfga.testing import RealOpenFga

ROOT = Path(__file__).parents[3]
MODEL: dict[str, Any] = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "user"},
        {
            "type": "document",
            "relations": {"viewer": {"this": {}}},
            "metadata": {"relations": {"viewer": {"directly_related_user_types": [{"type": "user"}]}}},
        },
    ],
}

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(300), pytest.mark.xdist_group("fresh-install")]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with two wheels, the core's and the plugin's, and what they depend on."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels)]
    for member in (ROOT / "core", ROOT / "plugins" / "openfga"):
        done = subprocess.run([*build, str(member)], capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True)
    install = ["install", "--quiet", "-c", str(ROOT / "constraints.txt"), *map(str, wheels.glob("*.whl"))]
    done = subprocess.run([str(folder / "bin" / "pip"), *install], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return folder / "bin"


def run(fresh: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "PYTHON"))}
    return subprocess.run(
        [str(fresh / "cabochon"), *arguments],
        env={**clean, "COLUMNS": "200", **variables},
        cwd=fresh,
        capture_output=True,
        text=True,
        check=False,
    )


def test_plugin_is_listed(fresh: Path) -> None:
    """`cabochon plugins` shows it, loaded, with what it offers."""
    (plugin,) = json.loads(run(fresh, "plugins", "--json").stdout)

    assert ("openfga", "loaded") == (plugin["plugin"], plugin["state"])
    assert "policy store OPENFGA" in run(fresh, "plugins").stdout


def test_sync_writes_tuples(fresh: Path, shared_in_memory: RealOpenFga, store_name: str) -> None:
    """`cabochon sync` needs nothing else: the only store is chosen, and OpenFGA answers by the tuples."""
    store_id = httpx.post(f"{shared_in_memory.url}/stores", json={"name": store_name}, trust_env=False).json()["id"]
    store = f"{shared_in_memory.url}/stores/{store_id}"
    httpx.post(f"{store}/authorization-models", json=MODEL, trust_env=False).raise_for_status()
    sources = [{"url": "", "dst_path": "/docs", "data": {"document:plan": {"viewer": ["user:ann"]}}}]
    done = run(
        fresh,
        "sync",
        "--sources",
        json.dumps(sources),
        OPAL_POLICY_STORE_URL=shared_in_memory.url,
        OPAL_OPENFGA_STORE_NAME=store_name,
    )
    assert 0 == done.returncode, done.stdout + done.stderr

    key = {"user": "user:ann", "relation": "viewer", "object": "document:plan"}
    assert httpx.post(f"{store}/check", json={"tuple_key": key}, trust_env=False).json()["allowed"]
