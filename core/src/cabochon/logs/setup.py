"""How Cabochon logs: configured by the application, once, and never by an import."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from cabochon.logs.file import LogFile
from cabochon.logs.plain_renderer import PlainRenderer
from cabochon.logs.repeats import Repeats
from cabochon.settings.core import LogSettings

__all__ = ["configure_logging"]

_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send structlog's events, and what libraries log with the standard library, to `stream`, and to a file if wanted.

    Text for people, or JSON if `log_serialize` is set. An event below `log_level` costs one method call that does
    nothing. Libraries are heard from WARNING on only: their INFO lines show URLs, which may hold tokens.

    Args:
        settings: what is logged, in which form, and where.
        stream: in place of standard error, or standard output if `log_pipe_to_stderr` is not set.

    Raises:
        ConfigurationError: the file can't be written.
    """
    target = stream or cast("TextIO", sys.stderr if settings.log_pipe_to_stderr else sys.stdout)
    level = logging.getLevelNamesMapping()[settings.log_level]
    begin = _begin(settings)
    repeats = Repeats(settings.log_repeats) if settings.log_repeats else None
    if settings.log_serialize:
        # Bytes from the encoder to the stream's own buffer: no text in between.
        factory = structlog.BytesLoggerFactory(target.buffer)
        end: list[Processor] = [structlog.processors.format_exc_info, _as_json]
        end_for_libraries: list[Processor] = [structlog.processors.format_exc_info, _as_json_text]
    else:
        factory = structlog.WriteLoggerFactory(target)
        colours = target.isatty() if settings.log_colorize is None else settings.log_colorize
        end = end_for_libraries = [_for_people(colours=colours)]
    structlog.configure(
        processors=[*([repeats] if repeats else []), *begin, *end],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *begin],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end_for_libraries],
        )
    )
    if repeats is not None:
        handler.addFilter(repeats)
    handler.addFilter(_Modules(settings.log_module_exclude_list, settings.log_module_include_list))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _begin(settings: LogSettings) -> list[Processor]:
    """What is done to each event before it is written; each step that nobody asked for would cost time for nothing."""
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=settings.log_serialize),
    ]
    if settings.log_format_include_pid:
        steps.append(_with_pid)
    if not settings.log_traceback:
        steps.append(_without_traceback)
    if settings.log_to_file:
        steps.append(_file(settings))
    return steps


def _file(settings: LogSettings) -> LogFile:
    as_json: list[Processor] = [structlog.processors.format_exc_info, _as_json_text]
    return LogFile(
        settings.log_file_path,
        level=logging.getLevelNamesMapping()[settings.log_file_level],
        rotate_bytes=settings.log_file_rotation,
        retention=settings.log_file_retention,
        end=as_json if settings.log_file_serialize else [_for_people(colours=False)],
    )


def _for_people(*, colours: bool) -> Processor:
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return _Printable(console if colours else PlainRenderer(console))


class _Printable:
    """Escapes what could move a terminal's cursor, ring its bell or break a line, before the line is rendered."""

    def __init__(self, render: Processor) -> None:
        self._render = render

    def __call__(self, logger: Any, method: str, event: EventDict) -> Any:  # noqa: ANN401 - the renderer's
        for key, value in event.items():
            if isinstance(value, str) and not value.isprintable():
                event[key] = "".join(map(_escaped, value))
        return self._render(logger, method, event)


def _escaped(char: str) -> str:
    # The renderer quotes values with these.
    return char if char.isprintable() or char in "\t\r\n" else char.encode("unicode_escape").decode()


def _with_pid(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["pid"] = os.getpid()
    return event


def _without_traceback(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the error itself, in one line."""
    match event.pop("exc_info", None):
        case BaseException() as error:
            pass
        case (_, BaseException() as error, _):
            pass
        case given:
            error = sys.exception() if given else None
    if error is not None:
        event.setdefault("error", f"{type(error).__name__}: {error}")
    return event


def _as_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return _encoder.encode({"timestamp": event.pop("timestamp", None), "event": event.pop("event", ""), **event})


def _as_json_text(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    return _as_json(logger, method, event).decode()


class _Modules(logging.Filter):
    """Leaves out libraries by the names of their loggers; a name stands for what is below it, too."""

    def __init__(self, left_out: Sequence[str], kept: Sequence[str]) -> None:
        super().__init__()
        self._left_out = left_out
        self._kept = kept

    def filter(self, record: logging.LogRecord) -> bool:
        return _is_below(record.name, self._kept) or not _is_below(record.name, self._left_out)


def _is_below(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
