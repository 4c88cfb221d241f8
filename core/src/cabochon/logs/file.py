"""The log in a file of its own: a new file when one is full, and old ones deleted."""

from __future__ import annotations

import glob
import logging
import time
from collections.abc import MutableMapping, Sequence
from datetime import timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from structlog.typing import Processor

from cabochon.errors import ConfigurationError

__all__ = ["LogFile"]

_LEVELS = {**logging.getLevelNamesMapping(), "EXCEPTION": logging.ERROR}


class LogFile:
    """A step among structlog's processors which writes each event to the file as well, and passes it on.

    Args:
        path: the file; `{time}` in it stands for when the agent started.
        level: the least level that is written.
        rotate_bytes: a file that has grown to this size is set aside, under its name with the time added.
        retention: files of this log that were last written longer ago are deleted when one is set aside, and at the
            start.
        end: the processors that make an event one line of text.

    Raises:
        ConfigurationError: the file can't be written.
    """

    def __init__(
        self, path: str, *, level: int, rotate_bytes: int, retention: timedelta, end: Sequence[Processor]
    ) -> None:
        self._level = level
        self._end = end
        try:
            self._handler = _Rotating(path, rotate_bytes, retention)
        except OSError as err:
            raise ConfigurationError(f"OPAL_LOG_FILE_PATH={path!r} can't be written: {err.strerror}") from None

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Write the event, if it is of the file's level, and return it as it came."""
        if _LEVELS.get(method.upper(), logging.CRITICAL) >= self._level:
            line: Any = {key: value for key, value in event.items() if not key.startswith("_")}
            for step in self._end:
                line = step(logger, method, line)
            self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line, None, None))
        return event

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Rotating(RotatingFileHandler):
    """The standard library's, with loguru's names and loguru's idea of what is old, as OPAL's users know them."""

    def __init__(self, path: str, rotate_bytes: int, retention: timedelta) -> None:
        self._named = Path(path)
        self._retention_s = retention.total_seconds()
        started = path.replace("{time}", _now())
        Path(started).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(started, maxBytes=rotate_bytes, backupCount=1, encoding="utf-8")
        self._delete_old()

    def doRollover(self) -> None:  # noqa: N802 - the standard library's name
        """Set the file aside and begin another."""
        if self.stream is not None:
            self.stream.close()
        full = Path(self.baseFilename)
        full.rename(full.with_name(f"{full.stem}.{_now()}{full.suffix}"))
        self.stream = self._open()
        self._delete_old()

    def _delete_old(self) -> None:
        oldest = time.time() - self._retention_s
        folder = Path(self.baseFilename).parent
        stem, suffix = (glob.escape(part).replace("{time}", "*") for part in (self._named.stem, self._named.suffix))
        # The file of each run, and what it has set aside: nothing else that begins alike.
        for file in {*folder.glob(f"{stem}{suffix}"), *folder.glob(f"{stem}.*{suffix}")}:
            if str(file) != self.baseFilename and file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)


def _now() -> str:
    whole, part = divmod(time.time(), 1)
    return time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(whole)) + f"_{part:.6f}".replace("0.", "")
