"""Logging: text for people, JSON for programs, on stderr, never set up by an import."""

import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from cabochon.errors import ConfigurationError
from cabochon.logs.file import LogFile
from cabochon.logs.setup import configure_logging
from cabochon.settings.core import LogSettings, load_settings


@pytest.fixture(autouse=True)
def undo() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Kept as the same list: loggers that were used before hold it.
    kept = structlog.get_config()["processors"]
    yield
    structlog.reset_defaults()
    structlog.configure(processors=kept)
    root.handlers[:], root.level = handlers, level


class Stream(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def text(self) -> str:
        self.flush()
        self.seek(0)
        return self.read()


def test_json_is_one_object_on_a_line_with_what_is_bound() -> None:
    """
    Also for values that JSON does not know.
    """
    stream = Stream()
    configure_logging(LogSettings(log_serialize=True), stream)

    with structlog.contextvars.bound_contextvars(update_id="u1"):
        structlog.get_logger().info("fetch.failed", tries=2, path=object)

    event = json.loads(stream.text())
    assert ("fetch.failed", "info", "u1", 2) == (event["event"], event["level"], event["update_id"], event["tries"])
    assert event["timestamp"].endswith("Z")


def test_json_holds_the_traceback_of_an_error() -> None:
    """
    One line, whatever happened.
    """
    stream = Stream()
    configure_logging(LogSettings(log_serialize=True), stream)

    try:
        Path("/nowhere").read_bytes()
    except OSError:
        structlog.get_logger().exception("service.failed")

    assert json.loads(stream.text())["exception"].endswith("No such file or directory: '/nowhere'")


def test_text_is_for_people() -> None:
    """
    No colours where there is no terminal.
    """
    stream = Stream()
    configure_logging(LogSettings(), stream)

    structlog.get_logger().info("agent.started", store="X")

    assert "agent.started" in stream.text()
    assert "\x1b" not in stream.text()


def test_events_below_the_level_are_not_written() -> None:
    """
    `OPAL_LOG_LEVEL` is the least level.
    """
    stream = Stream()
    configure_logging(LogSettings(log_level="ERROR"), stream)

    structlog.get_logger().warning("fetch.failed")

    assert "" == stream.text()


@pytest.mark.parametrize("serialize", [True, False], ids=["json", "text"])
def test_libraries_are_heard_from_warning_on(serialize: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """
    In the same form; their INFO lines show URLs that may hold tokens.
    """
    stream = Stream()
    configure_logging(LogSettings(log_serialize=serialize, log_level="DEBUG"), stream)

    logging.getLogger("somelib").info("GET http://x?token=hunter2")
    logging.getLogger("somelib").warning("pool is full")

    assert "pool is full" in stream.text()
    assert "hunter2" not in stream.text()
    assert not serialize or "somelib" == json.loads(stream.text())["logger"]


def test_colours_can_be_forced_and_switched_off() -> None:
    """
    `OPAL_LOG_COLORIZE`; unset, a stream that is no terminal has none.
    """
    stream = Stream()
    configure_logging(LogSettings(log_colorize=True), stream)

    structlog.get_logger().info("agent.started")

    assert "\x1b[" in stream.text()


def test_log_goes_to_standard_output_if_asked(capfd: pytest.CaptureFixture[str]) -> None:
    """
    `OPAL_LOG_PIPE_TO_STDERR=false`; else to standard error.
    """
    for to_stderr in (True, False):
        configure_logging(LogSettings(log_pipe_to_stderr=to_stderr))
        structlog.get_logger().info("agent.started", to_stderr=to_stderr)

    out, err = capfd.readouterr()
    assert ("to_stderr=False" in out, "to_stderr=True" in out) == (True, False)
    assert ("to_stderr=True" in err, "to_stderr=False" in err) == (True, False)


def test_pid_is_in_each_event_if_asked() -> None:
    """
    `OPAL_LOG_FORMAT_INCLUDE_PID`: ours and the libraries'.
    """
    stream = Stream()
    configure_logging(LogSettings(log_serialize=True, log_format_include_pid=True), stream)

    structlog.get_logger().info("agent.started")
    logging.getLogger("somelib").warning("pool is full")

    assert [os.getpid()] * 2 == [json.loads(line)["pid"] for line in stream.text().splitlines()]


def test_error_is_one_line_if_tracebacks_are_off() -> None:
    """
    `OPAL_LOG_TRACEBACK=false`, however the error came to the event.
    """
    stream = Stream()
    configure_logging(LogSettings(log_serialize=True, log_traceback=False), stream)

    try:
        raise LookupError("no such thing")  # noqa: TRY301 - raised to be caught
    except LookupError as err:
        structlog.get_logger().exception("service.failed")
        structlog.get_logger().error("service.failed", exc_info=err)
        logging.getLogger("somelib").exception("broke")

    events = [json.loads(line) for line in stream.text().splitlines()]
    assert ["LookupError: no such thing"] * 3 == [event["error"] for event in events]
    assert not any("exception" in event for event in events)


def test_libraries_are_left_out_by_name() -> None:
    """
    A name stands for what is below it, and not for what only begins alike; the include list has exceptions.
    """
    stream = Stream()
    settings = LogSettings(log_module_exclude_list=("uvicorn", "some"), log_module_include_list=("uvicorn.error",))
    configure_logging(settings, stream)

    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "uvicorn.error.x", "something"):
        logging.getLogger(name).warning("from <%s>", name)

    assert ["uvicorn.error", "uvicorn.error.x", "something"] == re.findall(r"<(.*)>", stream.text())


# ---------------------------------------------------------------------------------------------------- the log file


@pytest.fixture
def log_file() -> Iterator[Callable[..., Stream]]:
    """Log to a file as well; closed at the end of the test, as the interpreter does at its own."""

    def configure(**settings: Any) -> Stream:
        close()
        stream = Stream()
        configure_logging(LogSettings.model_validate({"log_to_file": True, **settings}), stream)
        return stream

    def close() -> None:
        for step in structlog.get_config()["processors"]:
            if isinstance(step, LogFile):
                step.close()

    yield configure
    close()


def test_file_has_the_same_events_as_json(log_file: Callable[..., Stream], tmp_path: Path) -> None:
    """
    What libraries say, too; what is written to the stream is as it was.
    """
    stream = log_file(log_file_path=str(tmp_path / "logs/agent.log"))

    structlog.get_logger().info("agent.started", store="X")
    structlog.get_logger().debug("fetch.retried")
    logging.getLogger("somelib").warning("pool is full")

    lines = [json.loads(line) for line in (tmp_path / "logs/agent.log").read_text().splitlines()]
    assert [("agent.started", "info"), ("pool is full", "warning")] == [(one["event"], one["level"]) for one in lines]
    assert ["X", "somelib"] == [lines[0]["store"], lines[1]["logger"]]
    assert "agent.started" in stream.text()
    assert "pool is full" in stream.text()


def test_file_has_its_own_level_and_form(log_file: Callable[..., Stream], tmp_path: Path) -> None:
    """
    `OPAL_LOG_FILE_LEVEL` and `OPAL_LOG_FILE_SERIALIZE`.
    """
    stream = log_file(log_file_path=str(tmp_path / "a.log"), log_file_level="WARNING", log_file_serialize=False)

    structlog.get_logger().info("agent.started")
    structlog.get_logger().warning("fetch.failed", error="gone")

    (line,) = (tmp_path / "a.log").read_text().splitlines()
    assert "[warning  ] fetch.failed" in line
    assert "\x1b" not in line
    assert "agent.started" in stream.text()


def test_full_file_is_set_aside_and_old_ones_are_deleted(log_file: Callable[..., Stream], tmp_path: Path) -> None:
    """
    Those of this log, of earlier runs too; nobody else's.
    """
    for name in ("agent_2020.log", "agent_2020.2021.log", "agents.log", "agent_2020.txt"):
        (tmp_path / name).write_text("old")
        os.utime(tmp_path / name, (0, 0))
    log_file(log_file_path=str(tmp_path / "agent_{time}.log"), log_file_rotation="300 B", log_file_retention="1 day")

    for number in range(10):
        structlog.get_logger().info("agent.started", number=number)

    ours = sorted(tmp_path.glob("agent_*.log"))
    assert len(ours) > 2
    assert all(file.stat().st_size <= 300 for file in ours)
    numbers = [json.loads(line)["number"] for file in ours for line in file.read_text().splitlines()]
    assert list(range(10)) == sorted(numbers)
    assert {"agents.log", "agent_2020.txt"} == {file.name for file in tmp_path.iterdir() if file not in ours}


def test_file_that_can_not_be_written_stops_the_start(log_file: Callable[..., Stream], tmp_path: Path) -> None:
    """
    In one line that names the variable.
    """
    with pytest.raises(ConfigurationError, match=r"^OPAL_LOG_FILE_PATH='.*' can't be written: Is a directory$"):
        log_file(log_file_path=str(tmp_path))


@pytest.mark.parametrize(
    ("written", "means"),
    [("250 MB", 250_000_000), ("1.5KiB", 1536), ("100", 100), ("2 GB", 2_000_000_000), ("7b", 7)],
)
def test_size_is_written_as_for_loguru(written: str, means: int) -> None:
    """
    Decimal and binary units.
    """
    assert means == load_settings(LogSettings, {"OPAL_LOG_FILE_ROTATION": written}).log_file_rotation


@pytest.mark.parametrize(("written", "means"), [("10 days", 864_000), ("1 week", 604_800), ("30", 30), ("2 h", 7_200)])
def test_age_is_written_as_for_loguru(written: str, means: int) -> None:
    """
    A number alone is seconds, as everywhere.
    """
    assert means == load_settings(LogSettings, {"OPAL_LOG_FILE_RETENTION": written}).log_file_retention.total_seconds()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OPAL_LOG_FILE_ROTATION", "12:00"), ("OPAL_LOG_FILE_ROTATION", "0"), ("OPAL_LOG_FILE_RETENTION", "3 months")],
)
def test_what_loguru_knows_and_we_do_not_is_refused(variable: str, value: str) -> None:
    """
    Better than another time than was meant.
    """
    with pytest.raises(ConfigurationError, match=rf"^{variable}='{value}' should be"):
        load_settings(LogSettings, {variable: value})


def test_text_line_escapes_what_is_not_printable() -> None:
    """
    An id or a reason from outside moves no cursor, rings no bell and begins no line.
    """
    written = io.StringIO()
    configure_logging(load_settings(LogSettings, {"OPAL_LOG_LEVEL": "INFO"}), written)
    try:
        structlog.get_logger().warning("thing.failed", why="\x1b[2J\x07\u2028x")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()

    assert written.getvalue().replace("\n", "").isprintable()
    assert "\\x1b[2J\\x07\\u2028x" in written.getvalue()
