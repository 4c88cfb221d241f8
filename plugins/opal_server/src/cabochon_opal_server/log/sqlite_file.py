"""The file of the log: a SQLite database in WAL mode. Everything here blocks, and belongs into a thread.

Its format, version 1: `record` has the records by number; `superseded` the numbers that compaction removed, with what
supersedes each; `document` the register; `about` the log's identity and its floor. `application_id` and
`user_version` of the file say what it is. A lock on the file `<name>.lock` beside it keeps a second server out.

Statements are few and large: after each step of one the thread waits for the interpreter, for milliseconds where the
event loop is busy.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cabochon import Bounds, LogRecord
from cabochon_opal_server.log.sqlite_rows import DamagedError, Row, decoded_page

__all__ = ["SqliteFile", "UnusableLogError"]

_APPLICATION_ID = 0x43624C47
_VERSION = 1
_ROWS = 64
"""Rows for one statement: more would make it slow to prepare."""
_PAGE_BYTES = 4 << 20
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE record (number INTEGER PRIMARY KEY, appended_us INTEGER NOT NULL, kind TEXT NOT NULL,
                     topics TEXT NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE superseded (number INTEGER PRIMARY KEY, by INTEGER NOT NULL);
CREATE TABLE document (name TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
"""
_SET_ASIDE = """
CREATE TABLE IF NOT EXISTS damaged (number INTEGER PRIMARY KEY, appended_us, kind, topics, size, crc, body)
"""
_READ = """
SELECT (SELECT value FROM about WHERE key = 'floor'),
       (SELECT json_group_array(json_array(number, appended_us, kind, topics, body, crc))
        FROM (SELECT * FROM record WHERE number > :after AND number <= :last ORDER BY number LIMIT
              (SELECT max(1, count(*))
               FROM (SELECT sum(size) OVER (ORDER BY number) AS total
                     FROM (SELECT number, size FROM record
                           WHERE number > :after AND number <= :last ORDER BY number LIMIT :limit))
               WHERE total <= :bytes)))
"""
_AGED = """
SELECT max(number) FROM (SELECT number, appended_us FROM record ORDER BY number LIMIT :rows) WHERE appended_us < :before
"""
_LARGE = """
SELECT coalesce(min(number) FILTER (WHERE total >= :excess), max(number))
FROM (SELECT number, sum(size) OVER (ORDER BY number) AS total
      FROM (SELECT number, size FROM record ORDER BY number LIMIT :rows))
"""


class UnusableLogError(Exception):
    """The file can't be used as the log; the message says why, as the end of a sentence that names it."""


class SqliteFile:
    """The open file; one thread may write and one read at the same time."""

    def __init__(self, path: Path, lock: int, writer: sqlite3.Connection) -> None:
        self.path = path
        self._lock = lock
        self._writer = writer
        about = dict(writer.execute("SELECT key, value FROM about").fetchall())
        self.log_id: str = about["log_id"]
        self._floor: int = about["floor"]
        ((number, appended_us),) = writer.execute("SELECT max(number), max(appended_us) FROM record").fetchall()
        self._head = max(number or 0, self._floor)
        self._appended_us: int = appended_us or 0
        writer.execute(_SET_ASIDE)
        ((self._damaged,),) = writer.execute("SELECT count(*) FROM damaged").fetchall()
        self._reader = _connect(path)
        self._reader.execute("PRAGMA query_only = 1")

    @classmethod
    def open(cls, path: Path) -> SqliteFile:
        """Open the log, or make one where there is no file.

        Raises:
            OSError: it can't be read or written.
            UnusableLogError: another server has it open, or it is something else, of another version, or damaged.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            lock = _locked(path)
            undo.callback(os.close, lock)
            _touch(path)
            writer = _connect(path)
            undo.callback(writer.close)
            try:
                _prepare(writer)
                log = cls(path, lock, writer)
            except (sqlite3.DatabaseError, KeyError) as err:
                raise UnusableLogError(f"is no update log, or damaged: {err}") from err
            undo.pop_all()
            return log

    def close(self) -> None:
        """Close it; what was written is in the one file then."""
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    @property
    def damaged(self) -> int:
        """How many records were set aside because they can't be read, and are not forgotten yet."""
        return self._damaged

    @property
    def bounds(self) -> Bounds:
        """How far it reaches."""
        return Bounds(self._floor, self._head)

    # -------------------------------------------------------------------------------------------------- writing

    def append(self, rows: Sequence[Row], now_us: int) -> tuple[int, int]:
        """Write the rows as one transaction, on disk when it returns; return the first number and their time."""
        # Never earlier than the one before, so that age and number go together.
        appended_us = max(now_us, self._appended_us)
        first = self._head + 1
        values = [
            (number, appended_us, kind, topics, size, crc, body)
            for number, (kind, topics, body, size, crc) in enumerate(rows, start=first)
        ]
        with self._transaction(single=len(rows) <= _ROWS):
            self._insert("INSERT INTO record VALUES", values)
        self._head += len(rows)
        self._appended_us = appended_us
        return first, appended_us

    def compact(self, superseded: Mapping[int, int]) -> None:
        """Remove these records, and note what supersedes each."""
        given = msgspec.json.encode({number: by for number, by in superseded.items() if number < by <= self._head})
        with self._transaction():
            self._writer.execute(
                "INSERT OR IGNORE INTO superseded SELECT number, value FROM json_each(?), record"
                " WHERE number = CAST(key AS INTEGER)",
                (given.decode(),),
            )
            self._writer.execute(
                "DELETE FROM record WHERE number IN (SELECT CAST(key AS INTEGER) FROM json_each(?))", (given.decode(),)
            )

    def trim(self, before_us: int | None, max_bytes: int | None, *, rows: int = 1000) -> bool:
        """Remove some of the oldest records beyond the limits; say whether there may be more to remove."""
        found = 0
        if before_us is not None:
            self._forget_damaged(before_us)
            found = self._number(_AGED, rows=rows, before=before_us)
        if max_bytes is not None and (excess := self._used() - max_bytes) > 0:
            found = max(found, self._number(_LARGE, rows=rows, excess=excess))
        if not found:
            return False
        with self._transaction():
            self._writer.execute("DELETE FROM record WHERE number <= ?", (found,))
            self._writer.execute("DELETE FROM superseded WHERE number <= ?", (found,))
            self._writer.execute("UPDATE about SET value = ? WHERE key = 'floor'", (found,))
        self._floor = found
        return True

    def save_documents(self, documents: Mapping[str, bytes]) -> None:
        """Write these documents over those that are there."""
        with self._transaction():
            self._insert("REPLACE INTO document VALUES", list(documents.items()))

    def forget_documents(self, names: Collection[str]) -> None:
        """Remove these documents."""
        given = msgspec.json.encode(list(names)).decode()
        self._writer.execute("DELETE FROM document WHERE name IN (SELECT value FROM json_each(?))", (given,))

    def _insert(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        for start in range(0, len(values), _ROWS):
            part = values[start : start + _ROWS]
            row = f"({', '.join('?' * len(part[0]))})"
            self._writer.execute(f"{statement} {', '.join([row] * len(part))}", [one for row in part for one in row])

    def _number(self, query: str, **given: int) -> int:
        ((number,),) = self._writer.execute(query, given).fetchall()
        return number or 0

    def _used(self) -> int:
        return sum(
            sign * self._writer.execute(f"PRAGMA {pragma}").fetchone()[0]
            for sign, pragma in ((1, "page_count"), (-1, "freelist_count"))
        ) * int(self._writer.execute("PRAGMA page_size").fetchone()[0])

    @contextmanager
    def _transaction(self, *, single: bool = False) -> Generator[None]:
        """Make one transaction of what is executed; a single statement is one by itself."""
        if single:
            yield
            return
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise

    # -------------------------------------------------------------------------------------------------- reading

    def read(self, after: int, last: int, limit: int) -> tuple[int, list[LogRecord]]:
        """Return the floor, and up to `limit` records after one number up to another, at least one if there is any.

        Raises:
            DamagedError: they are not as they were written.
        """
        given = {"after": after, "last": last, "limit": limit, "bytes": _PAGE_BYTES}
        try:
            ((floor, page),) = self._reader.execute(_READ, given).fetchall()
            return floor, decoded_page(page)
        except (DamagedError, sqlite3.OperationalError) as err:
            damaged = self._damaged_in(after, last, limit) if limit > 1 else []
            if damaged:
                raise DamagedError(str(err), damaged) from err
            raise

    def _damaged_in(self, after: int, last: int, limit: int) -> list[int]:
        """Name the records of a page that can't be read: each is read by itself."""
        query = "SELECT number FROM record WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"
        damaged: list[int] = []
        for (number,) in self._reader.execute(query, (after, last, limit)).fetchall():
            try:
                self.read(number - 1, number, 1)
            except (DamagedError, sqlite3.OperationalError):
                damaged.append(number)
        return damaged

    def set_aside(self, numbers: Collection[int]) -> int:
        """Put records that can't be read where nobody reads them; the log begins after them now. Return the floor."""
        floor = max(self._floor, *numbers)
        given = msgspec.json.encode(list(numbers)).decode()
        with self._transaction():
            self._writer.execute(
                "INSERT OR REPLACE INTO damaged SELECT * FROM record WHERE number IN (SELECT value FROM json_each(?))",
                (given,),
            )
            self._writer.execute("DELETE FROM record WHERE number <= ?", (floor,))
            self._writer.execute("DELETE FROM superseded WHERE number <= ?", (floor,))
            self._writer.execute("UPDATE about SET value = ? WHERE key = 'floor'", (floor,))
        self._floor = floor
        ((self._damaged,),) = self._writer.execute("SELECT count(*) FROM damaged").fetchall()
        return floor

    def _forget_damaged(self, before_us: int) -> None:
        if self._damaged:
            self._writer.execute("DELETE FROM damaged WHERE appended_us < ?", (before_us,))
            ((self._damaged,),) = self._writer.execute("SELECT count(*) FROM damaged").fetchall()

    def superseded(self, numbers: Collection[int]) -> dict[int, int]:
        """Return which of these were compacted, with what supersedes each."""
        given = msgspec.json.encode(list(numbers)).decode()
        query = "SELECT number, by FROM superseded WHERE number IN (SELECT value FROM json_each(?))"
        return dict(self._reader.execute(query, (given,)).fetchall())

    def documents(self) -> dict[str, bytes]:
        """Return all documents by name."""
        return dict(self._reader.execute("SELECT name, document FROM document").fetchall())


# ------------------------------------------------------------------------------------------------------------ opening


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _locked(path: Path) -> int:
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(lock)
        if isinstance(err, BlockingIOError):
            raise UnusableLogError("is in use by another server") from err
        raise
    return lock


def _touch(path: Path) -> None:
    """Make the file, for its owner only; see that nobody took away what belongs to it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_size == 0:
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size > 0:
            raise UnusableLogError(f"is damaged: it is empty, and {wal.name} is not")
    # A new file is there after a power cut only if its folder is on disk too.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(connection: sqlite3.Connection) -> None:
    def value(query: str) -> object:
        return connection.execute(query).fetchone()[0]

    made_by, version = value("PRAGMA application_id"), value("PRAGMA user_version")
    tables = value("SELECT count(*) FROM sqlite_master")
    is_new = made_by == 0 and tables == 0
    if not is_new and made_by != _APPLICATION_ID:
        raise UnusableLogError("is a database of another program")
    if not is_new and version != _VERSION:
        raise UnusableLogError(f"has version {version} of the format, and this server knows {_VERSION}")
    if value("PRAGMA journal_mode = WAL") != "wal":
        raise UnusableLogError("can't be kept in WAL mode: put it on a local file system")
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO about VALUES ('log_id', ?), ('floor', 0)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    *_, problem = str(value("PRAGMA quick_check(1)")).splitlines()
    if problem != "ok":
        raise UnusableLogError(f"is damaged: {problem}")
