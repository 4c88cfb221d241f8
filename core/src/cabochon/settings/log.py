"""The settings of the log: OPAL's names, as far as they mean something to a log of events."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from cabochon.settings.model import CommaList, Settings

__all__ = ["LogLevel", "LogSettings"]

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_PEER_LEVELS = {"TRACE": "DEBUG", "SUCCESS": "INFO", "WARN": "WARNING"}
_BYTES_IN = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}
_SECONDS_IN = {
    **dict.fromkeys(("", "s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hour"), 3_600),
    **dict.fromkeys(("d", "day"), 86_400),
    **dict.fromkeys(("w", "week"), 604_800),
}


def _log_level(value: object) -> object:
    if not isinstance(value, str):
        return value
    return _PEER_LEVELS.get(value.strip().upper(), value.strip().upper())


def _size(value: object) -> object:
    """Read `250 MB` as loguru does, whose notation OPAL has."""
    size = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMG]?I?)B?", str(value).strip().upper())
    if size is None or size[2] not in _BYTES_IN:
        raise ValueError("should be a size, such as 250 MB")
    return round(float(size[1]) * _BYTES_IN[size[2]])


def _age(value: object) -> object:
    """Read `10 days` as loguru does, whose notation OPAL has."""
    if isinstance(value, timedelta):
        return value
    age = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*?)s?", str(value).strip().lower())
    if age is None or age[2] not in _SECONDS_IN:
        raise ValueError("should be an age, such as 10 days")
    return timedelta(seconds=float(age[1]) * _SECONDS_IN[age[2]])


class LogSettings(Settings):
    """What is logged, in which form, and where."""

    log_level: Annotated[LogLevel, BeforeValidator(_log_level)] = Field(
        default="INFO",
        validation_alias="OPAL_LOG_LEVEL",
        description="The least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    )
    log_repeats: int = Field(
        default=100,
        validation_alias="OPAL_LOG_REPEATS",
        description="Warnings and errors of one kind that are written in ten seconds; those beyond are counted, and "
        "how many were left out is said once (`log.repeated`). 0 writes all.",
        ge=0,
    )
    log_serialize: bool = Field(
        default=False,
        validation_alias="OPAL_LOG_SERIALIZE",
        description="Write each event as one JSON object on a line, instead of text for people.",
    )
    log_colorize: bool | None = Field(
        default=None,
        validation_alias="OPAL_LOG_COLORIZE",
        description="Write text in colours; unset: on a terminal.",
    )
    log_pipe_to_stderr: bool = Field(
        default=True,
        validation_alias="OPAL_LOG_PIPE_TO_STDERR",
        description="Write to standard error; if not, to standard output.",
    )
    log_format_include_pid: bool = Field(
        default=False,
        validation_alias="OPAL_LOG_FORMAT_INCLUDE_PID",
        description="Give each event the number of the process, as pid.",
    )
    log_traceback: bool = Field(
        default=True,
        validation_alias="OPAL_LOG_TRACEBACK",
        description="Write the traceback of an error where there is one; if not, the error in one line.",
    )
    log_module_exclude_list: CommaList = Field(
        default=(),
        validation_alias="OPAL_LOG_MODULE_EXCLUDE_LIST",
        description="Libraries that are not heard, by the names of their loggers; what is below a name goes with it. "
        "Others are heard from WARNING on.",
    )
    log_module_include_list: CommaList = Field(
        default=(),
        validation_alias="OPAL_LOG_MODULE_INCLUDE_LIST",
        description="Exceptions to OPAL_LOG_MODULE_EXCLUDE_LIST.",
    )
    log_to_file: bool = Field(
        default=False,
        validation_alias="OPAL_LOG_TO_FILE",
        description="Write the log to a file as well.",
    )
    log_file_path: str = Field(
        default="opal_{time}.log",
        validation_alias="OPAL_LOG_FILE_PATH",
        description="That file; {time} stands for when the agent started.",
    )
    log_file_level: Annotated[LogLevel, BeforeValidator(_log_level)] = Field(
        default="INFO",
        validation_alias="OPAL_LOG_FILE_LEVEL",
        description="The least level that goes to the file, of those that OPAL_LOG_LEVEL lets through.",
    )
    log_file_serialize: bool = Field(
        default=True,
        validation_alias="OPAL_LOG_FILE_SERIALIZE",
        description="Write the file as JSON, one object on a line, instead of text for people.",
    )
    log_file_rotation: Annotated[int, BeforeValidator(_size), Field(gt=0)] = Field(
        default=250_000_000,
        validation_alias="OPAL_LOG_FILE_ROTATION",
        description="Size at which the file is set aside and a new one begun, in bytes, or such as 250 MB.",
    )
    log_file_retention: Annotated[timedelta, BeforeValidator(_age), Field(gt=timedelta(0))] = Field(
        default=timedelta(days=10),
        validation_alias="OPAL_LOG_FILE_RETENTION",
        description="Age at which a file that was set aside is deleted, in seconds, or such as 10 days.",
    )
