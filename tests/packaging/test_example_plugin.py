"""A stranger's plugin is a `pip install` away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin_sqlite_store"
INSTALL = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
PLUGINS = ["-c", "from cabochon.cli import main; main()", "plugins"]


@pytest.mark.slow
def test_example_is_found_once_it_is_installed(tmp_path: Path) -> None:
    """`cabochon plugins` lists the store of the example, with nothing done but the install."""
    subprocess.run([sys.executable, *INSTALL, "--target", str(tmp_path), str(EXAMPLE)], check=True)
    listed = subprocess.run(
        [sys.executable, *PLUGINS],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "policy store sqlite" in listed.stdout
