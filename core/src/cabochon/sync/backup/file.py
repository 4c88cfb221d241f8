"""The file of a backup: a SQLite database that holds one complete state, replaced by a transaction for each backup.

Its format, version 1: `document` has each document as raw JSON, `edit` the edits since, in order; `policy` the policies
in order; `state` one row of JSON about the whole. Each row has a CRC-32, for SQLite itself does not notice a changed
byte inside a value. `application_id` and `user_version` of the file say what it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.sync.backup.rows import checksum, edit_from, edit_row, end_of, key_of, path_from
from cabochon.sync.desired.document import Document
from cabochon.sync.desired.journal import Unsaved
from cabochon.transactions.changes import Change, SetData

__all__ = ["BackedUp", "BackupFile", "BackupState", "UnusableBackupError", "moved_aside"]

_APPLICATION_ID = 0x43624F46
_VERSION = 1
_MAGIC = b"SQLite format 3\0"
_ID_AT, _HEAD_BYTES = 68, 100
_DAMAGED_AT_MOST = 2
_UNREACHABLE = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_SCHEMA = """
CREATE TABLE document (path BLOB PRIMARY KEY, crc INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE edit (path BLOB, number INTEGER, kind TEXT NOT NULL, at BLOB NOT NULL, crc INTEGER NOT NULL,
                   value BLOB NOT NULL, PRIMARY KEY (path, number));
CREATE TABLE policy (id TEXT PRIMARY KEY, place INTEGER NOT NULL, crc INTEGER NOT NULL, source TEXT NOT NULL);
CREATE TABLE state (key INTEGER PRIMARY KEY CHECK (key = 1), crc INTEGER NOT NULL, value BLOB NOT NULL);
"""


class UnusableBackupError(Exception):
    """The file is no backup that this version can read; the message says why."""


class BackupState(Struct, frozen=True, kw_only=True):
    """What a backup says of the whole.

    Attributes:
        store: the name of the policy store that it was made for.
        saved_at: Unix seconds.
        policy_hash: of the policies in it, None if none ever came.
        policy_synced: policies had been synced when it was made.
        data_synced: every initial data source had been.
        initial_paths: where these are written, as keys.
        policy_data_paths: where data files of the policies are written, as keys.
        marker: epoch and number that the engine held then; None if it did not hold all of this.
    """

    store: str
    saved_at: float
    policy_hash: str | None = None
    policy_synced: bool = False
    data_synced: bool = False
    initial_paths: tuple[bytes, ...] = ()
    policy_data_paths: tuple[bytes, ...] = ()
    marker: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was read: the changes that make its documents, the policies in order, and the rest."""

    state: BackupState
    changes: list[Change]
    policies: dict[str, str]
    documents: int

    def check_store(self, store: str) -> None:
        """Make sure that it was made for the policy store of that name.

        Raises:
            UnusableBackupError: it was not.
        """
        if self.state.store != store:
            msg = f"it was made for the policy store {self.state.store}, not for {store}"
            raise UnusableBackupError(msg)


class BackupFile:
    """An open backup; nobody else can open it meanwhile. Everything here blocks, and belongs into a thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._saved: PathIndex[_Saved] = PathIndex()
        self._policies: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path) -> BackupFile:
        """Open the file, or make one.

        Raises:
            OSError: it can't be read or written, another process has it open, or it is a link or a file of something
                else: that is left as it is.
            UnusableBackupError: it is of another version, or damaged.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _take(path)
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with _reasons():
                _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    # -------------------------------------------------------------------------------------------------- reading

    def load(self) -> BackedUp | None:
        """Read the backup; None if there is none yet.

        Raises:
            OSError: the file can't be read.
            UnusableBackupError: it is damaged.
        """
        with _reasons():
            row = self._connection.execute("SELECT crc, value FROM state").fetchone()
            if row is None:
                return None
            crc, value = row
            _check(crc, value)
            state = msgspec.json.decode(value, type=BackupState)
            changes = list(self._documents())
            documents = len(changes)
            changes.extend(self._edits())
            self._policies = dict(self._read_policies())
            return BackedUp(state, changes, dict(self._policies), documents)

    def _documents(self) -> Iterator[Change]:
        for key, crc, value in self._connection.execute("SELECT path, crc, value FROM document ORDER BY path"):
            _check(crc, key, value)
            yield SetData(path_from(key), value)

    def _edits(self) -> Iterator[Change]:
        rows = self._connection.execute("SELECT path, number, kind, at, crc, value FROM edit ORDER BY path, number")
        for key, number, kind, at, crc, value in rows:
            _check(crc, key, b"%d" % number, kind.encode(), at, value)
            yield edit_from(path_from(key), kind, at, value)

    def _read_policies(self) -> Iterator[tuple[str, str]]:
        for name, crc, source in self._connection.execute("SELECT id, crc, source FROM policy ORDER BY place"):
            _check(crc, name.encode(), source.encode())
            yield name, source

    # -------------------------------------------------------------------------------------------------- writing

    def save(self, state: BackupState, unsaved: Mapping[DocumentPath, Unsaved], policies: Mapping[str, str]) -> int:
        """Write what has changed as one transaction; return how many bytes of documents, edits and policies that is.

        Raises:
            OSError: it can't be written; the file holds what it held before.
        """
        with _reasons(), _transaction(self._connection):
            size = sum(self._save(path, what) for path, what in unsaved.items())
            size += self._save_policies(policies)
            value = msgspec.json.encode(state)
            self._connection.execute("REPLACE INTO state VALUES (1, ?, ?)", (checksum(value), value))
        self._policies = dict(policies)
        for path, what in unsaved.items():
            self._note(path, what)
        return size

    def _save(self, path: DocumentPath, what: Unsaved) -> int:
        known = next((one for one in self._saved.covered_by(path) if one.path == path), None)
        document = what.document
        if not what.region and known is not None and document is not None:
            newer = document.changes_since(known.document)
            if newer is not None:
                return self._add_edits(path, known.number, newer)
        self._remove(path, below=what.region)
        if document is None:
            return 0
        key = key_of(path)
        row = (key, checksum(key, document.base), document.base)
        self._connection.execute("INSERT INTO document VALUES (?, ?, ?)", row)
        return len(document.base) + self._add_edits(path, 0, document.changes())

    def _remove(self, path: DocumentPath, *, below: bool) -> None:
        key = key_of(path)
        for table in ("document", "edit"):
            if not below:
                self._connection.execute(f"DELETE FROM {table} WHERE path = ?", (key,))  # noqa: S608 - our own name
            elif key:
                self._connection.execute(
                    f"DELETE FROM {table} WHERE path >= ? AND path < ?",  # noqa: S608 - our own name
                    (key, end_of(key)),
                )
            else:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own name

    def _add_edits(self, path: DocumentPath, number: int, edits: list[Change]) -> int:
        key = key_of(path)
        rows: list[tuple[object, ...]] = []
        size = 0
        for place, edit in enumerate(edits, start=number):
            kind, at, value = edit_row(edit)
            rows.append((key, place, kind, at, checksum(key, b"%d" % place, kind.encode(), at, value), value))
            size += len(value)
        self._connection.executemany("REPLACE INTO edit VALUES (?, ?, ?, ?, ?, ?)", rows)
        return size

    def _note(self, path: DocumentPath, what: Unsaved) -> None:
        """Remember what is on disk of a document with edits, so that the next ones can be added to them."""
        for one in [one for one in self._saved.covered_by(path) if what.region or one.path == path]:
            self._saved.discard(one.path, one)
        if what.document is not None and not (what.region and what.document.edits is None):
            self._saved.add(path, _Saved(path, what.document, len(what.document.changes())))

    def _save_policies(self, policies: Mapping[str, str]) -> int:
        if policies == self._policies and list(policies) == list(self._policies):
            return 0
        execute = self._connection.execute
        for name in self._policies.keys() - policies.keys():
            execute("DELETE FROM policy WHERE id = ?", (name,))
        size = 0
        places = {name: place for place, name in enumerate(self._policies)}
        for place, (name, source) in enumerate(policies.items()):
            if places.get(name) != place or self._policies[name] != source:
                crc = checksum(name.encode(), source.encode())
                execute("REPLACE INTO policy VALUES (?, ?, ?, ?)", (name, place, crc, source))
                size += len(source)
        return size


@dataclass(frozen=True, slots=True)
class _Saved:
    path: DocumentPath
    document: Document
    number: int


def _take(path: Path) -> None:
    """Make the file if there is none, and make it its owner's alone: it holds what people may do."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, which may lead to what is not ours") from err
        raise
    try:
        head = os.pread(file, _HEAD_BYTES, 0)
        if not stat.S_ISREG(os.fstat(file).st_mode) or (head and not _is_ours(head)):
            raise FileExistsError(errno.EEXIST, "it is something else than a backup of an agent, and left as it is")
        os.fchmod(file, 0o600)
    finally:
        os.close(file)


def _is_ours(head: bytes) -> bool:
    """Tell whether a file begins as ours do, one byte of it or two may be damaged."""
    found = head[: len(_MAGIC)] + head[_ID_AT : _ID_AT + 4]
    wanted = _MAGIC + _APPLICATION_ID.to_bytes(4)
    return len(found) == len(wanted) and sum(a != b for a, b in zip(found, wanted, strict=True)) <= _DAMAGED_AT_MOST


def _prepare(connection: sqlite3.Connection) -> None:
    execute = connection.execute
    # Nobody else may write into it, and no file is left beside it between two transactions.
    execute("PRAGMA locking_mode = EXCLUSIVE")
    execute("PRAGMA journal_mode = TRUNCATE")
    execute("PRAGMA synchronous = FULL")
    execute("BEGIN EXCLUSIVE")
    ((made_by,),) = execute("PRAGMA application_id").fetchall()
    ((version,),) = execute("PRAGMA user_version").fetchall()
    ((tables,),) = execute("SELECT count(*) FROM sqlite_master").fetchall()
    if made_by == 0 and tables == 0:
        for statement in _SCHEMA.split(";"):
            execute(statement)
        execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        execute(f"PRAGMA user_version = {_VERSION}")
    elif made_by != _APPLICATION_ID:
        raise UnusableBackupError("it is a database of another program")
    elif version != _VERSION:
        msg = f"it has version {version} of the format, and only {_VERSION} can be read"
        raise UnusableBackupError(msg)
    execute("COMMIT")
    problems = [row[0] for row in execute("PRAGMA quick_check(1)") if row[0] != "ok"]
    if problems:
        msg = f"it is damaged: {problems[0]}"
        raise UnusableBackupError(msg)


def _check(crc: int, *parts: bytes) -> None:
    if checksum(*parts) != crc:
        raise UnusableBackupError("it is damaged: a checksum is wrong")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _reasons() -> Generator[None]:
    """Tell a file that is broken from one that can't be reached."""
    try:
        yield
    except sqlite3.OperationalError as err:
        # The low byte is the kind of failure, without its details.
        code = err.sqlite_errorcode & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise BlockingIOError("another process has it open") from err
        if code not in _UNREACHABLE:
            msg = f"it is no backup, or damaged: {err}"
            raise UnusableBackupError(msg) from err
        raise OSError(str(err)) from err
    except (sqlite3.DatabaseError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as err:
        msg = f"it is no backup, or damaged: {err}"
        raise UnusableBackupError(msg) from err


def moved_aside(path: Path) -> Path:
    """Rename a file that is no use, and what SQLite left beside it; return its new name.

    Raises:
        OSError: it can't be renamed.
    """
    aside = path.with_name(f"{path.name}.unusable-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    number = 0
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.name}.{number}")
    path.rename(aside)
    for ending in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + ending))
    return aside
