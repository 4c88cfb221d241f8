"""What the tests against the real peer share."""

import os
from pathlib import Path

import pytest

from .peer_environment import NoPeerError
from .peer_environment import peer_python as make_peer


@pytest.fixture(scope="session")
def peer_python() -> Path:
    """The Python that has the peer installed; without a network it can't be had, which only CI takes for a failure."""
    try:
        return make_peer()
    except NoPeerError as err:
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(f"no environment with the peer: {err}")
        pytest.fail(f"no environment with the peer: {err}")
