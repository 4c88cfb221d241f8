"""The command line: every error one line, every command loaded when it is used."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import cabochon
from cabochon.cli.commands import CORE_COMMANDS
from cabochon.cli.main import run
from cabochon.contract.command import RESERVED_COMMANDS

DATA = Path(__file__).parents[1] / "data"
Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, on_path: Callable[[Path], None]) -> Install:
    """Put distributions of `data` beside those that are installed."""
    for name in [name for name in os.environ if name.startswith("OPAL_")]:
        monkeypatch.delenv(name)

    def prepend(*folders: str) -> None:
        for folder in folders:
            on_path(DATA / folder)

    return prepend


def run_quietly(*arguments: str) -> int:
    with capture_logs():
        return run(arguments)


def run_process(*arguments: str, folders: tuple[str, ...] = (), **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(DATA / folder) for folder in folders)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
    return subprocess.run(
        [sys.executable, "-c", "from cabochon.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "PYTHONPATH": path, **environ},
    )


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """
    One line, for people and scripts.
    """
    assert 0 == run(["--version"])
    assert f"cabochon {cabochon.__version__}\n" == capsys.readouterr().out


def test_help_lists_all_commands_and_loads_none(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A plugin's command that can't be loaded is listed like the others.
    """
    install("good")

    assert 0 == run_quietly("--help")
    shown = capsys.readouterr().out
    assert all(name in shown for name in CORE_COMMANDS)
    assert "greet" in shown
    assert "Fail to load" in shown


def test_names_of_core_commands_are_reserved() -> None:
    """
    No plugin can take the name of a command that the core has, and no other name is refused.
    """
    assert sorted(CORE_COMMANDS) == sorted(RESERVED_COMMANDS)


@pytest.mark.parametrize("name", CORE_COMMANDS)
def test_core_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each target exists and has a help text.
    """
    assert 0 == run([name, "--help"])
    shown = capsys.readouterr().out
    assert f"Usage: cabochon {name}" in shown
    assert "\\b" not in shown, "examples must keep their lines"


def test_plugins_lists_state_reason_hooks_and_offers(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Everything that is known of each plugin, for programs.
    """
    install("good", "import_error")

    assert 0 == run_quietly("plugins", "--json")
    found: dict[str, dict[str, Any]] = {plugin["plugin"]: plugin for plugin in json.loads(capsys.readouterr().out)}
    good, broken = found["good"], found["import-error"]
    assert ("loaded", "1.2.3", ["Good"]) == (good["state"], good["version"], good["offers"]["fetcher"])
    assert ["cabochon_commands", "cabochon_fetchers"] == good["hooks"]
    assert ("failed", "cabochon-test-import-error") == (broken["state"], broken["distribution"])
    assert "No module named" in broken["reason"]


def test_plugins_table_shows_the_same_to_people(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Loaded, blocked and failed, with the reasons.
    """
    install("good", "import_exits", "misspelt_hook")
    monkeypatch.setenv("OPAL_PLUGINS_DISABLED", "import-exits")

    assert 0 == run_quietly("plugins")
    shown = capsys.readouterr().out
    assert "cabochon-test-good 1.2.3" in shown
    assert "left out by OPAL_PLUGINS_DISABLED" in shown
    assert "did you mean cabochon_fetchers?" in shown


def test_plugins_shows_conflicts_and_fails(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The command for finding the trouble works in spite of it.
    """
    install("good", "duplicate_name")

    assert 1 == run_quietly("plugins", "--json")
    out, err = capsys.readouterr()
    assert "cabochon: fetcher 'good' is claimed twice, by duplicate-name" in err
    assert json.loads(out)


def test_config_lists_core_and_plugins_with_secrets_masked(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Variable, value, default, source, owner and meaning of each, sorted.
    """
    install("good")
    monkeypatch.setenv("OPAL_GOOD_TOKEN", "hunter2")

    assert 0 == run_quietly("config", "--json")
    out = capsys.readouterr().out
    rows: list[dict[str, Any]] = json.loads(out)
    token = next(row for row in rows if row["variable"] == "OPAL_GOOD_TOKEN")
    assert ("********", "", "environment", "good", "Token for the good source.") == (
        token["value"],
        token["default"],
        token["source"],
        token["owner"],
        token["meaning"],
    )
    assert "OPAL_COMMIT_TIMEOUT" in {row["variable"] for row in rows}
    assert "hunter2" not in out


def test_config_for_people_shows_variable_value_and_meaning(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Lines that could be copied into an environment file.
    """
    install("good")

    assert 0 == run_quietly("config")
    out = capsys.readouterr().out
    assert "OPAL_COMMIT_TIMEOUT=5\n    core; default\n" in out
    assert "    Token for the good source.\n" in out


def test_config_says_what_is_wrong_and_what_is_unknown(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The page is shown in spite of it, and the exit code tells.
    """
    install("good")
    monkeypatch.setenv("OPAL_PLUGINS_TRACE", "maybe")
    monkeypatch.setenv("OPAL_GOOD_TOKEM", "x")

    assert 1 == run_quietly("config")
    out, err = capsys.readouterr()
    assert "OPAL_PLUGINS_TRACE=maybe" in out
    assert [
        "cabochon: OPAL_GOOD_TOKEM is set, but nothing that is installed reads it; did you mean OPAL_GOOD_TOKEN?",
        "cabochon: OPAL_PLUGINS_TRACE='maybe' should be true or false",
    ] == err.splitlines()


def test_command_of_a_plugin_runs_and_its_return_value_is_no_exit_code(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A function that returns 3 has not failed.
    """
    install("good")

    assert 0 == run_quietly("greet")
    assert "Hello!\n" == capsys.readouterr().out


def test_command_that_fails_to_load_names_its_plugin(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    One line, and the other commands go on working.
    """
    install("good")

    assert 1 == run_quietly("broken")
    assert (
        "cabochon: the command 'broken' of plugin good (cabochon-test-good 1.2.3) failed to load: "
        "RuntimeError: half of it is missing\n"
    ) == capsys.readouterr().err


def test_command_claimed_twice_runs_for_nobody(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Which one was meant can't be told; the message names both plugins.
    """
    install("good", "odd_commands")

    assert 1 == run_quietly("greet")
    assert "cabochon: command 'greet' is claimed twice, by good (cabochon-test-good 1.2.3) and odd-commands" in (
        capsys.readouterr().err
    )


def test_command_that_is_none_names_its_plugin(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    `load` returns a click command and nothing else.
    """
    install("odd_commands")

    assert 1 == run_quietly("nothing")
    assert "'nothing' of plugin odd-commands (cabochon-test-odd-commands 0.1) is no click command but str" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("arguments", "times"), [(["--version"], 0), (["plugins", "--help"], 1), (["--help"], 1)])
def test_logging_is_prepared_before_anything_is_loaded(install: Install, arguments: list[str], times: int) -> None:
    """
    And not for what loads nothing.
    """
    install()
    calls: list[str] = []

    assert 0 == run(arguments, prepare=lambda _quiet: calls.append("prepared"))
    assert times == len(calls)


def test_wrong_usage_exits_with_2(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    As every Unix program.
    """
    install()

    assert 2 == run_quietly("nonsense")
    assert "No such command 'nonsense'" in capsys.readouterr().err


def test_ctrl_c_exits_with_130_and_no_traceback(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """
    128 and the number of the signal.
    """
    install("good")

    assert 128 + signal.SIGINT == run_quietly("interrupted")
    assert "Traceback" not in capsys.readouterr().err


def test_wrong_setting_is_one_line(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Variable, value, what would be right; exit code 1.
    """
    install()
    monkeypatch.setenv("OPAL_PLUGINS_TRACE", "maybe")

    assert 1 == run_quietly("plugins")
    assert "cabochon: OPAL_PLUGINS_TRACE='maybe' should be true or false\n" == capsys.readouterr().err


def test_logs_go_to_stderr_so_that_output_stays_whole() -> None:
    """
    A warning about a plugin never ends up inside the JSON.
    """
    done = run_process("plugins", "--json", folders=("import_error",), OPAL_LOG_SERIALIZE="true")

    assert 0 == done.returncode
    assert json.loads(done.stdout)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert ["import-error"] == [event["plugin"] for event in events if event["event"] == "plugin.load_failed"]


def test_wrong_log_setting_does_not_keep_config_from_saying_so() -> None:
    """
    Logging falls back to its defaults.
    """
    done = run_process("config", OPAL_LOG_LEVEL="loud")

    assert 1 == done.returncode
    assert "OPAL_LOG_LEVEL='loud' should be " in done.stderr
    assert "Traceback" not in done.stderr
