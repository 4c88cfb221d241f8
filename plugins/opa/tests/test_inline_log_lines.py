"""OPA's log in ours: what is shown in which format, and nothing lost of a line."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.kit.process.child import LineSplitter
from cabochon.kit.process.inline_engine import LogEvent
from cabochon_opa.inline.log_lines import LogReader
from cabochon_opa.inline.settings import LogFormat

FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
REQUEST: dict[str, Any] = {
    "client_addr": "127.0.0.1:1",
    "level": "info",
    "msg": "Sent response.",
    "req_id": 7,
    "req_method": "PUT",
    "req_path": "/v1/data/users",
    "resp_status": 204,
    "time": "2026-01-01T00:00:00Z",
}
REST = {name: value for name, value in REQUEST.items() if name not in {"level", "msg"}}


def read(line: dict[str, Any] | bytes, log_format: LogFormat) -> LogEvent | None:
    return LogReader(log_format).read(line if isinstance(line, bytes) else json.dumps(line).encode())


@pytest.mark.parametrize(
    ("log_format", "fields"),
    [
        ("none", None),
        ("minimal", {}),
        ("http", {"method": "PUT", "path": "/v1/data/users", "status": 204}),
        ("full", {"opa": REST}),
    ],
)
def test_request_is_shown_by_format(log_format: LogFormat, fields: dict[str, Any] | None) -> None:
    """
    Nothing, the message, the request, everything.
    """
    expected = None if fields is None else LogEvent(level="info", message="Sent response.", fields=fields)

    assert expected == read(REQUEST, log_format)


def test_http_shows_a_request_that_is_not_answered_yet() -> None:
    """
    Without a status.
    """
    line = {name: value for name, value in REQUEST.items() if name != "resp_status"}
    event = read(line, "http")

    assert event is not None
    assert {"method": "PUT", "path": "/v1/data/users"} == event.fields


def test_line_that_has_not_what_its_format_shows_is_shown_in_full() -> None:
    """
    As in the peer: rather too much than nothing.
    """
    no_request = read({"level": "info", "msg": "Initializing server.", "addrs": [":1"]}, "http")
    no_message = read({"level": "debug", "addrs": [":1"]}, "minimal")

    assert LogEvent(level="info", message="Initializing server.", fields={"opa": {"addrs": [":1"]}}) == no_request
    assert LogEvent(level="debug", message="", fields={"opa": {"addrs": [":1"]}}) == no_message


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize(
    ("level", "ours"), [("warning", "warning"), ("error", "error"), ("fatal", "error"), ("PANIC", "error")]
)
def test_what_goes_wrong_is_shown_in_every_format(log_format: LogFormat, level: str, ours: str) -> None:
    """
    With its reason, `none` included.
    """
    event = read({"level": level, "msg": "Listener failed.", "err": "in use", "time": "now"}, log_format)

    assert event is not None
    assert (ours, "Listener failed.", "in use") == (event.level, event.message, event.fields["error"])


@pytest.mark.parametrize("log_format", FORMATS)
def test_line_that_is_no_json_is_an_error(log_format: LogFormat) -> None:
    """
    A panic, or what OPA prints before it has a log.
    """
    assert LogEvent(level="error", message="goroutine 1 [running]:") == read(b"goroutine 1 [running]:\n", log_format)
    assert LogEvent(level="error", message="load error: x") == read(b"error: load error: x", log_format)
    assert LogEvent(level="error", message="[1]") == read(b"[1]", log_format)
    assert read(b"  ", log_format) is None


def test_first_error_is_kept_and_the_manual_is_not_shown() -> None:
    """
    After a wrong option OPA prints all that there are.
    """
    reader = LogReader("none")
    lines = [b"Error: unknown flag: --bad", b"Usage:", b"  opa run [flags]", b"", b"Flags:"]
    shown = [event.message for line in lines if (event := reader.read(line)) is not None]

    assert ["unknown flag: --bad"] == shown
    assert "unknown flag: --bad" == reader.first_error
    reader.read(b'{"level": "error", "msg": "later"}')
    assert "unknown flag: --bad" == reader.first_error


def test_first_error_has_its_reason() -> None:
    """
    The message alone says too little.
    """
    reader = LogReader("minimal")
    reader.read(b'{"level": "warning", "msg": "root"}')
    reader.read(b'{"level": "error", "msg": "Listener failed.", "err": "in use"}')

    assert "Listener failed.: in use" == reader.first_error


@pytest.mark.parametrize("log_format", FORMATS)
def test_panic_is_noticed(log_format: LogFormat) -> None:
    """
    By a line of its trace, plain or inside a message.
    """
    reader = LogReader(log_format)
    reader.read(b"panic serving 127.0.0.1:1: boom")
    assert not reader.panicked
    reader.read(b"\t/usr/local/go/src/runtime/panic.go:884 +0x212")
    assert reader.panicked


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known = st.sampled_from(["level", "msg", "err", "error", "req_method", "req_path", "resp_status", "event", "message"])


@given(
    line=st.binary(max_size=80)
    | st.dictionaries(known | st.text(max_size=8), any_json).map(lambda one: json.dumps(one).encode()),
    log_format=st.sampled_from(FORMATS),
)
def test_any_line_is_read(line: bytes, log_format: LogFormat) -> None:
    """
    Whatever comes, it can be logged: no field collides with a name that the logger uses.
    """
    event = read(line, log_format)

    if event is not None:
        assert event.level in {"debug", "info", "warning", "error"}
        assert event.fields.keys() <= {"error", "method", "path", "status", "opa"}


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda one: one.replace(b"\n", b""))), cuts=st.lists(st.integers(1, 9))
)
def test_lines_are_the_same_however_they_come(lines: list[bytes], cuts: list[int]) -> None:
    """
    Chunks end anywhere.
    """
    stream = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    found: list[bytes] = []
    for cut in [*cuts, len(stream)]:
        chunk, stream = stream[:cut], stream[cut:]
        if chunk:
            found += splitter.feed(chunk)

    assert lines == found
    assert [] == list(splitter.feed(b""))


def test_last_line_needs_no_end_and_a_long_one_is_cut() -> None:
    """
    A line costs a bounded amount of memory.
    """
    splitter = LineSplitter()

    assert [] == list(splitter.feed(b"x" * 1_000_000))
    assert [b"x" * 65536, b"next"] == list(splitter.feed(b"yyy\nnext\nend"))
    assert [b"end"] == list(splitter.feed(b""))
