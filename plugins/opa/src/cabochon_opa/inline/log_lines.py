"""Lines of OPA's log, made into events of ours: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from cabochon.kit.process.inline_engine import LogEvent, LogLevel
from cabochon_opa.inline.settings import LogFormat

__all__ = ["LogReader"]

_LEVELS: Mapping[str, LogLevel] = {
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "fatal": "error",
    "panic": "error",
}
_HTTP = {"req_method": "method", "req_path": "path", "resp_status": "status"}
_REASONS = ("err", "error")
_PANIC = "runtime/panic.go:"


class LogReader:
    """Reads one run of OPA, line by line.

    Warnings and errors are events in every format. Of the rest, `none` shows nothing, `minimal` the message, `http`
    the message with the method, path and status of a request, `full` everything; a line that has not got what its
    format shows is shown in full. What is no JSON, such as the trace of a panic, is an error.

    Attributes:
        first_error: the first error of this run with its reason, "" if there was none.
        panicked: whether OPA has said that it panicked.
    """

    def __init__(self, log_format: LogFormat) -> None:
        self._format: LogFormat = log_format
        self._in_usage = False
        self.first_error = ""
        self.panicked = False

    def read(self, line: bytes) -> LogEvent | None:
        """Return what the line says, None if it is not to be logged."""
        try:
            decoded = cast("object", msgspec.json.decode(line))
        except msgspec.DecodeError:
            decoded = None
        event = self._event(cast("dict[str, Any]", decoded)) if isinstance(decoded, dict) else self._text(line)
        if event is not None and event.level == "error" and not self.first_error:
            self.first_error = ": ".join(filter(None, (event.message, str(event.fields.get("error", "")))))
        self.panicked = self.panicked or _PANIC in line.decode("utf-8", "replace")
        return event

    def _text(self, line: bytes) -> LogEvent | None:
        text = line.decode("utf-8", "replace").strip()
        # After a wrong option, OPA prints its whole manual.
        self._in_usage = self._in_usage or text == "Usage:"
        if not text or self._in_usage:
            return None
        return LogEvent(level="error", message=text.removeprefix("Error: ").removeprefix("error: "))

    def _event(self, line: dict[str, Any]) -> LogEvent | None:
        level = _LEVELS.get(str(line.pop("level", "info")).lower(), "info")
        message = line.pop("msg", None)
        fields = self._shown(line, has_message=message is not None)
        if level in {"warning", "error"}:
            reason = next((line[name] for name in _REASONS if line.get(name)), None)
            fields = {**(fields or {}), **({} if reason is None else {"error": reason})}
        return None if fields is None else LogEvent(level=level, message=str(message or ""), fields=fields)

    def _shown(self, line: dict[str, Any], *, has_message: bool) -> dict[str, Any] | None:
        """Return the fields for this format, None for not at all."""
        if self._format == "none":
            return None
        if self._format == "minimal" and has_message:
            return {}
        if self._format == "http" and has_message and {"req_method", "req_path"} <= line.keys():
            return {ours: line[theirs] for theirs, ours in _HTTP.items() if theirs in line}
        return {"opa": line}
