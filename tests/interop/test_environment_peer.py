"""The catalogue of OPAL's variables is what an installed OPAL declares: no name more, none less, same defaults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cabochon.settings.peer_variables import SERVER, peer_variables

from .peer_environment import PEER

pytestmark = [pytest.mark.network, pytest.mark.timeout(900), pytest.mark.xdist_group("peer")]

PEER_ASKED = Path(__file__).parents[2] / "docs/peer_variables.py"


@pytest.fixture(scope="module")
def declared(peer_python: Path) -> dict[str, Any]:
    """What the script in docs/ finds there, with a variable set that must not count as a default."""
    done = subprocess.run(
        [peer_python, PEER_ASKED],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "OPAL_LOG_LEVEL": "DEBUG"},
    )
    return json.loads(done.stdout.partition("DECLARED")[2])


def test_same_names_with_the_same_defaults(declared: dict[str, Any]) -> None:
    """
    `python docs/environment.py PYTHON` takes them over; the server's count where the server is installed.
    """
    theirs = {name: (one["declared"], one["default"]) for name, one in declared["variables"].items()}
    with_server = SERVER in {package for package, _ in theirs.values()}
    ours = {
        name: (one.declared, one.default)
        for name, one in peer_variables().items()
        if with_server or one.declared != SERVER
    }

    assert PEER == declared["version"]
    assert theirs == ours
    assert ("opal_common", "INFO") == theirs["OPAL_LOG_LEVEL"]
    assert {"OPAL_SERVER_URL", "OPAL_LOG_LEVEL", "OPAL_MASTER_TOKEN", "WS_RPC_LOGGING"} <= theirs.keys()
