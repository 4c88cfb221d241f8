"""Logging: text for people, JSON for programs, on stderr, never set up by an import."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cabochon.logging_setup import configure_logging
from cabochon.settings import LogSettings


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
