"""OpenFGA that the agent runs itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cabochon.error_groups import bare_configuration_errors
from cabochon.errors import ConfigurationError
from cabochon.testing.real_engine import free_port

from .rig import running_agent, tuple_of

ROW = tuple_of("user:ann", "owner", "document:plan")


@pytest.fixture
def environ(openfga_path: Path) -> dict[str, str]:
    return {"OPAL_OPENFGA_INLINE_ENABLED": "true", "OPAL_OPENFGA_INLINE_EXEC_PATH": str(openfga_path)}


async def test_agent_runs_openfga_and_ends_it(environ: dict[str, str]) -> None:
    """It is up before the first write, on this machine alone, and gone with the agent."""
    with capture_logs() as events:
        async with running_agent(f"http://127.0.0.1:{free_port()}", environ) as rig:
            assert await rig.publish("/docs", [ROW]) is None
            assert await rig.asker.check("user:ann", "viewer", "document:plan")
    (started,) = [one for one in events if one["event"] == "inline_engine.started"]

    assert 1 == len([one for one in events if one["event"] == "inline_engine.stopped"])
    with pytest.raises(ProcessLookupError):
        os.kill(started["pid"], 0)


async def test_killed_openfga_is_started_again_and_filled(environ: dict[str, str]) -> None:
    """Empty, as it was in memory; what it held is written again."""
    with capture_logs() as events:
        async with running_agent(f"http://127.0.0.1:{free_port()}", environ) as rig:
            assert await rig.publish("/docs", [ROW]) is None
            (started,) = [one for one in events if one["event"] == "inline_engine.started"]
            os.kill(started["pid"], signal.SIGKILL)
            await rig.until(lambda: 2 == len([one for one in events if one["event"] == "openfga.model_written"]))
            assert await rig.publish("/docs", [ROW]) is None

            assert await rig.asker.check("user:ann", "viewer", "document:plan")


async def test_database_is_made_and_kept(environ: dict[str, str], tmp_path: Path) -> None:
    """With a file the next life finds what was written."""
    environ["OPAL_OPENFGA_INLINE_SQLITE_PATH"] = str(tmp_path / "openfga.db")
    for life in range(2):
        async with running_agent(f"http://127.0.0.1:{free_port()}", environ) as rig:
            assert life == len(await rig.asker.tuples())
            assert await rig.publish("/docs", [ROW]) is None


@pytest.mark.parametrize(
    ("more", "url", "reason"),
    [
        ({"OPAL_OPENFGA_INLINE_EXEC_PATH": "/nowhere/openfga"}, "http://127.0.0.1:9", "needs the openfga executable"),
        ({}, "https://127.0.0.1:9", "is for this machine"),
        ({}, "http://openfga.example:8080", "is for this machine"),
        (
            {"OPAL_OPENFGA_INLINE_SQLITE_PATH": "/nowhere/openfga.db"},
            "http://127.0.0.1:9",
            "there is no folder /nowhere",
        ),
    ],
    ids=["no-executable", "https", "elsewhere", "no-folder"],
)
async def test_what_can_not_be_run_stops_the_start(
    environ: dict[str, str], more: dict[str, str], url: str, reason: str
) -> None:
    """In one line that says what to do."""
    with pytest.raises(ConfigurationError, match=reason), bare_configuration_errors():
        async with running_agent(url, {**environ, **more}):
            pass
