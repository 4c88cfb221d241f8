"""What an agent's process does without."""

from __future__ import annotations

import subprocess
import sys

import pytest

_AGENT = """
import os, sys
os.environ["OPAL_POLICY_STORE_TYPE"] = "none-of-these"
sys.argv = ["cabochon", "agent", "run"]
from cabochon.cli.main import main
try:
    main()
except SystemExit:
    pass
assert "cabochon.agent.agent" in sys.modules
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("more", ["", "import httpx; httpx.AsyncClient(trust_env=False, verify=False)"])
def test_agent_does_without_rich(more: str) -> None:
    """The libraries that an agent loads bring no tables and colours with them, be they installed or not."""
    if more:
        pytest.importorskip("httpx")

    assert "False" == _run(f"{_AGENT}\n{more}\nprint('rich' in sys.modules or 'pygments' in sys.modules)")


def test_rich_can_be_loaded_all_the_same() -> None:
    """A command that shows tables finds rich."""
    assert "True" == _run(f"{_AGENT}\nimport rich.table\nprint('rich' in sys.modules)")
