"""`cabochon agent print-config`, and the settings by topic."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from structlog.testing import capture_logs

from cabochon.cli.main import run
from cabochon.cli.topics import TOPICS, topics_of
from cabochon.plugins.installed import Plugins

GIVEN = {
    "OPAL_POLICY_STORE_TYPE": "MOCK",
    "OPAL_UPDATE_SOURCE": "local",
    "OPAL_LOCAL_UPDATES": "my updates; $(touch x).jsonl",
    "OPAL_DEFAULT_UPDATE_CALLBACKS": '{"callbacks": ["http://bob:hunter2@host/"]}',
}


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set these variables, and no others of ours."""
    for name in [name for name in os.environ if name.startswith("OPAL_")]:
        monkeypatch.delenv(name)
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def print_config(*options: str) -> int:
    with capture_logs():
        return run(["agent", "print-config", *options])


def test_json_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Store, source, the plugins that take part and only their settings.
    """
    assert 0 == print_config("--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)

    assert ("MOCK", "cabochon-mock-store") == (found["policy_store"]["name"], found["policy_store"]["distribution"])
    assert "local" == found["update_source"]["name"]
    assert {"mock-store", "local-source", "http-fetcher", "callbacks"} <= set(found["plugins"])
    assert "opa" not in found["plugins"]
    shown = {row["variable"]: row for row in found["settings"]}
    assert GIVEN["OPAL_LOCAL_UPDATES"] == shown["OPAL_LOCAL_UPDATES"]["value"]
    assert not any(name.startswith("OPAL_INLINE_OPA") for name in shown)
    assert [] == found["problems"]


def test_choice_that_was_left_to_us_is_shown(given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    OPA is what OPAL would take, whatever else is installed.
    """
    assert len(Plugins.load().policy_stores) > 2
    given.delenv("OPAL_POLICY_STORE_TYPE")

    assert 0 == print_config()
    out = capsys.readouterr().out
    assert "OPA, from cabochon-opa" in out
    assert "OPAL_POLICY_STORE_TYPE=OPA  (default)" in out


def test_text_masks_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """
    In every form.
    """
    for options in ([], ["--json"], ["--env"]):
        assert 0 == print_config(*options)
        assert "hunter2" not in capsys.readouterr().out


def test_env_can_be_sourced(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """
    A shell that sources it has what was given, character by character, but for what may hold a secret.
    """
    assert 0 == print_config("--env")
    script = capsys.readouterr().out

    done = subprocess.run(
        ["sh", "-c", f"{script}\nenv -0"], capture_output=True, check=True, text=True, cwd=tmp_path, env={}
    )
    sourced = dict(line.split("=", 1) for line in done.stdout.split("\0") if line.startswith("OPAL_"))
    assert {name: value for name, value in GIVEN.items() if "CALLBACKS" not in name} == sourced
    assert "# OPAL_DEFAULT_UPDATE_CALLBACKS is set, and not shown" in script
    assert "# OPAL_COMMIT_TIMEOUT=5" in script
    assert [] == list(tmp_path.iterdir())


def test_what_stops_the_start_is_said_line_by_line(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    All of it at once, with exit status 1.
    """
    given.setenv("OPAL_POLICY_STORE_TYPE", "opaa")
    given.setenv("OPAL_REPORT_TIMEOUT", "soon")
    given.setenv("OPAL_REPORT_TIMEOUTS", "1")

    assert 1 == print_config()
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert "policy store   none" in out
    assert any(line.startswith("cabochon: OPAL_POLICY_STORE_TYPE: unknown policy store 'opaa'") for line in lines)
    assert "cabochon: OPAL_REPORT_TIMEOUT='soon' should be a number of seconds" in lines
    assert any("did you mean OPAL_REPORT_TIMEOUT?" in line for line in lines)


def test_json_and_env_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Wrong usage is exit status 2.
    """
    assert 2 == print_config("--json", "--env")
    assert "one of them" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- by topic


@pytest.mark.parametrize(
    ("variable", "topic"),
    [
        ("OPAL_POLICY_STORE_URL", "engine"),
        ("OPAL_INLINE_OPA_LOG_FORMAT", "engine"),
        ("OPAL_POLICY_STORE_LIVENESS_PROBE_ENABLED", "health"),
        ("OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED", "health"),
        ("OPAL_SERVER_URL", "source"),
        ("OPAL_DATA_UPDATER_ENABLED", "source"),
        ("OPAL_DATA_UPDATER_CONN_RETRY", "fetching"),
        ("OPAL_FETCHING_CALLBACK_TIMEOUT", "fetching"),
        ("OPAL_DEFAULT_UPDATE_CALLBACKS", "callbacks"),
        ("OPAL_CALLBACKS_MAX_CONNECTIONS", "callbacks"),
        ("OPAL_OPA_V0_COMPAT", "engine"),
        ("OPAL_OPA_BUNDLE_SERVICE_ADDR", "engine"),
        ("OPAL_LOCAL_UPDATES", "source"),
        ("OPAL_EXCLUDE_POLICY_STORE_SECRETS", "http"),
        ("OPAL_OFFLINE_MODE_ENABLED", "offline"),
        ("OPAL_LOG_LEVEL", "logs"),
        ("OPAL_PLUGINS_DISABLED", "other"),
    ],
)
def test_variable_is_where_one_looks_for_it(variable: str, topic: str) -> None:
    """
    The name decides, else what it is a setting of.
    """
    assert topic == topics_of(Plugins.load())[variable].name


def test_help_of_the_agent_is_by_topic(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The group names the topics, the command their settings.
    """
    assert 0 == run(["agent", "--help"])
    topics = capsys.readouterr().out
    with capture_logs():
        assert 0 == run(["agent", "run", "--help"])
    settings = capsys.readouterr().out

    assert all(topic.about in " ".join(topics.split()) for topic in TOPICS)
    assert "OPAL_SERVER_URL" not in topics
    assert all(name in settings for name in ("OPAL_POLICY_STORE_URL", "OPAL_LOCAL_UPDATES", "OPAL_LOG_LEVEL"))


def test_config_can_be_cut_to_a_topic(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With all that it says of each.
    """
    with capture_logs():
        assert 0 == run(["config", "--topic", "logs", "--json"])

    variables = {row["variable"] for row in json.loads(capsys.readouterr().out)}
    assert "OPAL_LOG_LEVEL" in variables
    assert "OPAL_POLICY_STORE_URL" not in variables
