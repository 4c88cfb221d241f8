"""Log lines without colours: what structlog's console shows, written in a fifth of the time.

An agent writes a line or two for each update; with structlog's own renderer they would be a sixth of its work.
"""

from __future__ import annotations

from typing import Any

from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["PlainRenderer"]

_RARE = frozenset({"exc_info", "exception", "stack", "logger", "logger_name"})
_QUOTED = frozenset(" \t=\r\n\"'")


class PlainRenderer:
    """Renders an event as `timestamp [level] event key=value ...`, keys sorted.

    `console` renders the rare ones: with a traceback, of a library's logger, or without one of the three columns.
    """

    def __init__(self, console: Processor) -> None:
        self._console = console

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> Any:  # noqa: ANN401 - the renderer's
        """Return the line."""
        if not _RARE.isdisjoint(event) or not (event.get("timestamp") and "level" in event and "event" in event):
            return self._console(logger, method, event)
        parts = [f"{event.pop('timestamp')} [{event.pop('level')!s:<9}] {event.pop('event')!s:<30}"]
        for key in sorted(event):
            value = event[key]
            shown = value if isinstance(value, str) and _QUOTED.isdisjoint(value) else repr(value)
            # Not in an f-string: of a string that is a member of an enum, that would show the name.
            parts.append(key + "=" + shown)
        return " ".join(parts).rstrip(" ")
