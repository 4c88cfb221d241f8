"""How Cabochon logs: configured by the application, once, and never by an import."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import Processor

from cabochon.settings import LogSettings

__all__ = ["configure_logging"]

_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send structlog's events, and what libraries log with the standard library, to `stream` (stderr if None).

    Text for people, or JSON if `log_serialize` is set. An event below `log_level` costs one method call that does
    nothing. Libraries are heard from WARNING on only: their INFO lines show URLs, which may hold tokens.
    """
    target = stream or cast("TextIO", sys.stderr)
    level = logging.getLevelNamesMapping()[settings.log_level]
    begin: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=settings.log_serialize),
    ]
    if settings.log_serialize:
        # Bytes from the encoder to the stream's own buffer: no text in between.
        factory = structlog.BytesLoggerFactory(target.buffer)
        end: list[Processor] = [structlog.processors.format_exc_info, _as_json]
        end_for_libraries: list[Processor] = [structlog.processors.format_exc_info, _as_json_text]
    else:
        factory = structlog.WriteLoggerFactory(target)
        plain = structlog.dev.plain_traceback
        end = [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)]
        end_for_libraries = end
    structlog.configure(
        processors=[*begin, *end],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*begin, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end_for_libraries],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _as_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return _encoder.encode({"timestamp": event.pop("timestamp", None), "event": event.pop("event", ""), **event})


def _as_json_text(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    return _as_json(logger, method, event).decode()
