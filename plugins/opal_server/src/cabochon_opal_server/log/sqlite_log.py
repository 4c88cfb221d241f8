"""The log in SQLite: the backbone of one server, with nothing to set up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

import anyio
import structlog
from anyio import CapacityLimiter, to_thread

from cabochon import (
    Backbone,
    BackboneError,
    Bounds,
    ConfigurationError,
    LogRecord,
    LogTrimmedError,
    NewRecord,
    Retention,
)
from cabochon.kit.append_batches import AppendBatches
from cabochon_opal_server.log.settings import SqliteLogSettings
from cabochon_opal_server.log.sqlite_file import SqliteFile, UnusableLogError
from cabochon_opal_server.log.sqlite_rows import DamagedError, Row, encoded, stamped
from cabochon_opal_server.log.tail import Tail

__all__ = ["SqliteLog", "open_sqlite_log"]

log = structlog.get_logger()

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_PAGE = 500


class SqliteLog(Backbone):
    """The log, open. Appends that come while one is written go to the disk together, with one fsync."""

    def __init__(self, file: SqliteFile, *, clock: Callable[[], float] = time.time) -> None:
        self.log_id = file.log_id
        self._file = file
        self._clock = clock
        self._tail = Tail(file.bounds.head)
        self._appends = AppendBatches(self._append)
        self._grown = anyio.Event()
        self._closed = False
        # One thread writes and one reads, at a time.
        self._writer = CapacityLimiter(1)
        self._reader = CapacityLimiter(1)

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Append, on disk when it returns."""
        if not records:
            return ()
        self._check_open()
        items = [(record, encoded(record)) for record in records]
        return await self._appends.append(items, sum(len(record.body) for record in records))

    async def _append(self, items: Sequence[tuple[NewRecord, Row]]) -> int:
        # A cancellation waits for the thread, so what is written is always known here.
        rows = [row for _, row in items]
        first, appended_us = await self._write(self._file.append, rows, int(self._clock() * 1e6))
        self._tail.add([stamped(record, number, appended_us) for number, (record, _) in enumerate(items, start=first)])
        grown, self._grown = self._grown, anyio.Event()
        grown.set()
        return first

    async def bounds(self) -> Bounds:
        """Return how far the log reaches."""
        return Bounds(self._file.bounds.floor, self._tail.head)

    async def read(self, after: int, *, limit: int) -> Sequence[LogRecord]:
        """Return a page: no more than 4 MB where records are large."""
        try:
            floor, page = await self._read(self._file.read, after, self._tail.head, limit)
        except DamagedError as err:
            floor, page = await self._without(err), ()
        if after < floor:
            raise LogTrimmedError(f"the update log {self._file.path} begins after {floor}", floor=floor)
        return page

    async def _without(self, damage: DamagedError) -> int:
        """Set damaged records aside, so that who needs them is told to start afresh, and is not refused for ever."""
        if not damage.numbers:
            raise BackboneError(f"the update log {self._file.path} failed: {damage}") from damage
        floor = await self._write(self._file.set_aside, damage.numbers)
        self._tail.forget(floor)
        log.error("update_log.record_set_aside", numbers=list(damage.numbers)[:20], floor=floor, error=str(damage))
        return floor

    def problems(self) -> Sequence[str]:
        """Say how many records were damaged."""
        damaged = self._file.damaged
        return () if not damaged else (f"the log of updates has lost {damaged} records to damage",)

    async def follow(self, after: int) -> AsyncGenerator[Sequence[LogRecord]]:
        """Give batches from memory, or pages from disk to whoever is behind."""
        while True:
            self._check_open()
            grown = self._grown
            batch = self._tail.after(after, limit=_PAGE)
            if batch is None:
                batch = await self.read(after, limit=_PAGE)
            if batch:
                after = batch[-1].number
                yield batch
            else:
                await grown.wait()

    async def compact(self, superseded: Mapping[int, int]) -> None:
        """Remove what later records make needless."""
        await self._write(self._file.compact, superseded)

    async def superseded(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Return what was compacted, and by what."""
        return await self._read(self._file.superseded, numbers)

    async def trim(self, limits: Retention) -> Bounds:
        """Remove the oldest records in bites of 1,000, with appends in between."""
        before_us = None if limits.max_age_s is None else int((self._clock() - limits.max_age_s) * 1e6)
        while await self._write(self._file.trim, before_us, limits.max_bytes):
            self._tail.forget(self._file.bounds.floor)
        return await self.bounds()

    async def save_documents(self, documents: Mapping[str, bytes]) -> None:
        """Keep these documents."""
        await self._write(self._file.save_documents, dict(documents))

    async def documents(self) -> Mapping[str, bytes]:
        """Return all documents."""
        return await self._read(self._file.documents)

    async def forget_documents(self, names: Collection[str]) -> None:
        """Drop these documents."""
        await self._write(self._file.forget_documents, names)

    # --------------------------------------------------------------------------------------------- the way to the disk

    def close(self) -> None:
        """Answer nothing from here on; who follows is told."""
        self._closed = True
        self._grown.set()

    async def _write(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        return await self._in_thread(self._writer, work, *args)

    async def _read(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        return await self._in_thread(self._reader, work, *args)

    async def _in_thread(self, limiter: CapacityLimiter, work: Callable[[*Ts], T], *args: *Ts) -> T:
        self._check_open()
        try:
            return await to_thread.run_sync(work, *args, limiter=limiter)
        except sqlite3.Error as err:
            raise BackboneError(f"the update log {self._file.path} failed: {err}") from err

    def _check_open(self) -> None:
        if self._closed:
            raise BackboneError(f"the update log {self._file.path} is closed")


@asynccontextmanager
async def open_sqlite_log(settings: SqliteLogSettings, url: str = "sqlite:") -> AsyncGenerator[SqliteLog]:
    """Open the log of this server, or make one; what follows the colon names the file, unless a setting does.

    Raises:
        ConfigurationError: the file can't be used; the message names it and what to do.
    """
    path = settings.path(url.partition(":")[2] or "update_log.db")
    try:
        file = await to_thread.run_sync(SqliteFile.open, path)
    except UnusableLogError as err:
        raise ConfigurationError(
            f"OPAL_UPDATE_LOG_PATH: {path} {err}. Name another file, or move this one away to begin a new log"
        ) from err
    except (OSError, sqlite3.Error) as err:
        reason = getattr(err, "strerror", None) or err
        raise ConfigurationError(
            f"OPAL_UPDATE_LOG_PATH: can't write {path} ({reason}). Name a file in a folder that this user may write to"
        ) from err
    updates = SqliteLog(file)
    log.info("update_log.opened", path=str(path), floor=file.bounds.floor, head=file.bounds.head)
    try:
        yield updates
    finally:
        updates.close()
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(file.close)
