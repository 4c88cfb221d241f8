"""How records lie in the file: one row each, with a checksum, for SQLite does not notice a changed byte in a value."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from cabochon import LogRecord, NewRecord

__all__ = ["DamagedError", "Row", "decoded_page", "encoded", "stamped"]

Row = tuple[str, str, str, int, int]
"""Kind, topics as JSON, body, its size in bytes, checksum."""


class DamagedError(Exception):
    """Rows are not as they were written; `numbers` are theirs, as far as they are known."""

    def __init__(self, message: str, numbers: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.numbers = numbers


class _Stored(msgspec.Struct, array_like=True, gc=False):
    number: int
    appended_us: int
    kind: str
    topics: str
    body: str
    checksum: int


_PAGE = msgspec.json.Decoder(list[_Stored])
_TOPICS = msgspec.json.Decoder(tuple[str, ...])


def encoded(record: NewRecord) -> Row:
    """Return the row of a record, before it has a number.

    Raises:
        ValueError: the body is not UTF-8.
    """
    topics = msgspec.json.encode(record.topics).decode()
    return record.kind, topics, record.body.decode(), len(record.body), _checksum(record.kind, topics, record.body)


def stamped(record: NewRecord, number: int, appended_us: int) -> LogRecord:
    """Return the record as it is in the log."""
    return LogRecord(number, record.kind, record.topics, record.body, appended_us / 1e6)


def decoded_page(page: str) -> list[LogRecord]:
    """Read rows that came as one JSON list.

    Raises:
        DamagedError: they are not as they were written.
    """
    try:
        return sorted((_record(row) for row in _PAGE.decode(page)), key=lambda record: record.number)
    except msgspec.MsgspecError as err:
        raise DamagedError(f"it is damaged: {err}") from err


def _record(row: _Stored) -> LogRecord:
    body = row.body.encode()
    if _checksum(row.kind, row.topics, body) != row.checksum:
        raise DamagedError(f"it is damaged: the checksum of update {row.number} is wrong", [row.number])
    return LogRecord(row.number, row.kind, _TOPICS.decode(row.topics), body, row.appended_us / 1e6)


def _checksum(kind: str, topics: str, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{kind}\0{topics}\0".encode()))
