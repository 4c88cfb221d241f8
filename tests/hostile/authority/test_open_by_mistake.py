"""Servers and agents that would be open though nobody meant it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from cabochon_opa.testing import RealOpa

from .programs import Program, agent, ran, server

GUARDS = (
    ("server", "OPAL_AUTH_PRIVATE_KEY", ""),
    ("server", "OPAL_AUTH_PUBLIC_KEY", ""),
    ("server", "OPAL_AUTH_MASTER_TOKEN", "  "),
    ("server", "OPAL_POLICY_REPO_WEBHOOK_SECRET", ""),
    ("agent", "OPAL_AUTH_PUBLIC_KEY", " "),
)


@pytest.mark.parametrize(("command", "variable", "blank"), GUARDS)
def test_blank_key_or_secret_stops_the_start_by_name(tmp_path: Path, command: str, variable: str, blank: str) -> None:
    """
    A compose file makes one of a variable that is not set.
    """
    code, said = ran(tmp_path, command, **{variable: blank, "OPAL_POLICY_STORE_TYPE": "MOCK"})
    assert code != 0
    assert f"{variable}={blank!r} is set and blank" in said
    assert "Traceback" not in said


def assert_said(program: Program, event: str, *, times: int) -> None:
    assert times == len(program.lines(event))
    health = httpx.get(f"{program.url}/healthcheck").json()
    assert (times == 1) == ("EVERYONE WHO REACHES" in health.get("open", ""))


@pytest.mark.parametrize(("host", "times"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
def test_open_beyond_loopback_is_said_at_the_start_and_in_health(
    tmp_path: Path, opa: RealOpa, host: str, times: int
) -> None:
    """
    In one line that no level of the log leaves out; on loopback health is as it was.
    """
    quiet = {"OPAL_LOG_LEVEL": "CRITICAL"}
    with (
        server(tmp_path, OPAL_SERVER_HOST=host, **quiet) as ours,
        agent(tmp_path, ours, opa.url, OPAL_CLIENT_API_SERVER_HOST=host, **quiet) as one,
    ):
        assert_said(ours, "server.open_to_the_network", times=times)
        assert_said(one, "agent_api.open_to_the_network", times=times)
