"""The log of several servers, in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, LiteralString
from uuid import uuid4

import anyio
import msgspec
import structlog
from psycopg import AsyncConnection, AsyncCursor, ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from cabochon import (
    Backbone,
    Bounds,
    ConfigurationError,
    LogRecord,
    LogReplacedError,
    LogTrimmedError,
    NewRecord,
    Retention,
)
from cabochon.kit.append_batches import AppendBatches
from cabochon.urls import masked_url
from cabochon_postgres_backbone import statements
from cabochon_postgres_backbone.connections import Connections, WipedError
from cabochon_postgres_backbone.settings import PostgresBackboneSettings

__all__ = ["PostgresLog", "open_postgres_log"]

log = structlog.get_logger()

_PAGE = 500
_PAGE_BYTES = 4 << 20
_BITE = 500
_WAIT_S = 3.0
_CREATING = 0x43624C47
"""The advisory lock under which tables are made."""
_TOPICS = msgspec.json.Decoder(tuple[str, ...])


class PostgresLog(Backbone):
    """The log, open. Appends that come while one is written go together in the next commit."""

    def __init__(self, connections: Connections, *, channel: str, shown: str) -> None:
        self.log_id = ""
        self._connections = connections
        self._channel = channel
        self._shown = shown
        self._appends = AppendBatches(self._write)

    async def identify(self) -> None:
        """Learn the identity of the log, or make a new one, and the tables.

        Raises:
            BackboneError: the database can't be reached, or refuses.
        """
        async with self._connections.one() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATING,))
            # Where others have made the tables, this user may not be allowed to.
            there = await (await connection.execute("SELECT to_regclass('cabochon_document')")).fetchone()
            if there == (None,):
                await connection.execute(statements.CREATE)
            given = {"channel": self._channel, "log_id": uuid4().hex}
            found = await (await connection.execute(statements.IDENTIFY, given)).fetchone()
        (self.log_id,) = found or ("",)

    # ---------------------------------------------------------------------------------------------------- records

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Append; as durable as the database's commits."""
        if not records:
            return ()
        return await self._appends.append(records, sum(len(record.body) for record in records))

    async def _write(self, records: Sequence[NewRecord]) -> int:
        given: dict[str, Any] = {
            "count": len(records),
            "bytes": sum(len(record.body) for record in records),
            "kinds": [record.kind for record in records],
            "topics": [msgspec.json.encode(record.topics).decode() for record in records],
            "sizes": [len(record.body) for record in records],
            "bodies": [record.body for record in records],
            "notified": _notified(self.log_id),
        }
        ((last, _),) = await self._rows(statements.APPEND, **given)
        return last - len(records) + 1

    async def bounds(self) -> Bounds:
        """Return how far the log reaches."""
        ((floor, head),) = await self._rows(statements.BOUNDS)
        return Bounds(floor, head)

    async def read(self, after: int, *, limit: int) -> Sequence[LogRecord]:
        """Return a page: no more than about 4 MB where records are large."""
        return self._page(after, await self._rows(statements.READ, after=after, limit=limit, bytes=_PAGE_BYTES))

    def _page(self, after: int, rows: Sequence[tuple[Any, ...]]) -> list[LogRecord]:
        floor = rows[0][0]
        if after < floor:
            raise LogTrimmedError(f"the update log in {self._shown} begins after {floor}", floor=floor)
        return [
            LogRecord(number, kind, _TOPICS.decode(topics), body, appended_us / 1e6)
            for _, number, kind, topics, body, appended_us in rows
            if number is not None
        ]

    async def follow(self, after: int) -> AsyncGenerator[Sequence[LogRecord]]:
        """Give pages; a notification wakes who waits, and a lost one costs three seconds, no record."""
        log_id = self.log_id
        connection = await self._open_listener(log_id)
        try:
            while True:
                rows = await self._asked(
                    connection, statements.READ, log_id=log_id, after=after, limit=_PAGE, bytes=_PAGE_BYTES
                )
                page = self._page(after, rows)
                if page:
                    after = page[-1].number
                    yield page
                    continue
                ((_, renewed),) = await self._asked(
                    connection, statements.RENEW, log_id=log_id, after=after, renewed=uuid4().hex
                )
                if renewed:
                    await self.identify()
                    raise LogReplacedError(f"the update log in {self._shown} has lost its end: everyone starts afresh")
                await self._notification(connection)
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()

    async def _open_listener(self, log_id: str) -> AsyncConnection[Any]:
        with self._connections.told():
            connection = await self._connections.connect()
            await connection.execute(SQL("LISTEN {}").format(Identifier(_notified(log_id))))
            return connection

    async def _notification(self, connection: AsyncConnection[Any]) -> None:
        with self._connections.told():
            async with aclosing(connection.notifies(timeout=_WAIT_S, stop_after=1)) as notifications:
                async for _ in notifications:
                    pass

    # ------------------------------------------------------------------------------------------- compact and trim

    async def compact(self, superseded: Mapping[int, int]) -> None:
        """Remove what later records make needless."""
        numbers = list(superseded)
        for start in range(0, len(numbers), _BITE):
            bite = numbers[start : start + _BITE]
            by = [superseded[number] for number in bite]
            await self._changed(statements.COMPACT, numbers=bite, by=by)

    async def superseded(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Return what was compacted, and by what."""
        return dict(await self._rows(statements.SUPERSEDED, checked=False, numbers=list(numbers)))

    async def trim(self, limits: Retention) -> Bounds:
        """Remove the oldest records in bites of 500."""
        age_us = None if limits.max_age_s is None else int(limits.max_age_s * 1e6)
        while await self._changed(statements.TRIM, age_us=age_us, max_bytes=limits.max_bytes, bite=_BITE):
            pass
        return await self.bounds()

    async def _changed(self, statement: LiteralString, **given: object) -> bool:
        """Carry out a statement while nobody else changes the log; say whether it returned anything.

        It may use the log's `head`, and what it has `used`, beside its own parameters.
        """
        try:
            async with self._connections.one() as connection, connection.transaction():
                ((head, used),) = _there(await _fetched(connection, statements.LOCK, {"log_id": self.log_id}))
                known = {"log_id": self.log_id, "head": head, "used": used}
                cursor = await connection.execute(statement, {**given, **known})
                return cursor.description is not None and await cursor.fetchone() is not None
        except WipedError as err:
            raise await self._replaced() from err

    # --------------------------------------------------------------------------------------------------- register

    async def save_documents(self, documents: Mapping[str, bytes]) -> None:
        """Keep these documents."""
        # In one order, so that two servers don't wait for each other.
        names = sorted(documents)
        contents = [documents[name] for name in names]
        await self._changed(statements.SAVE_DOCUMENTS, names=names, documents=contents)

    async def documents(self) -> Mapping[str, bytes]:
        """Return all documents."""
        return dict(await self._rows(statements.READ_DOCUMENTS, checked=False))

    async def forget_documents(self, names: Collection[str]) -> None:
        """Drop these documents."""
        await self._changed(statements.FORGET_DOCUMENTS, names=sorted(names))

    # -------------------------------------------------------------------------------------------------- the other end

    async def _rows(self, statement: LiteralString, *, checked: bool = True, **given: object) -> list[tuple[Any, ...]]:
        """Return a statement's rows; if `checked`, none of them means that the log is not there any more."""
        try:
            async with self._connections.one() as connection:
                rows = await _fetched(connection, statement, {**given, "log_id": self.log_id})
            return _there(rows) if checked else rows
        except WipedError as err:
            raise await self._replaced() from err

    async def _asked(
        self, connection: AsyncConnection[Any], statement: LiteralString, **given: object
    ) -> list[tuple[Any, ...]]:
        try:
            with self._connections.told():
                return _there(await _fetched(connection, statement, given))
        except WipedError as err:
            raise await self._replaced() from err

    async def _replaced(self) -> LogReplacedError:
        await self.identify()
        return LogReplacedError(f"the update log in {self._shown} was wiped: it begins anew")


def _there(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows of a log that is there: one that is not has none."""
    if not rows:
        raise WipedError
    return rows


async def _fetched(
    connection: AsyncConnection[Any], statement: LiteralString, given: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    cursor: AsyncCursor[Any]
    async with connection.cursor(binary=True) as cursor:
        return await (await cursor.execute(statement, given)).fetchall()


def _notified(log_id: str) -> str:
    """The channel of notifications; an identity is hexadecimal."""
    return f"cabochon_{log_id}"


@asynccontextmanager
async def open_postgres_log(settings: PostgresBackboneSettings, url: str) -> AsyncGenerator[PostgresLog]:
    """Connect, make the tables if they are not there, and learn the identity of the log.

    Raises:
        ConfigurationError: the URL is wrong.
        BackboneError: the database can't be reached, or refuses.
    """
    shown = masked_url(url)
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        # Its own message may quote a part of the password.
        raise ConfigurationError(
            f"OPAL_BROADCAST_URI={shown} should be postgres://[user:password@]host[:port][/database]"
        ) from None
    connections = Connections(url, shown)
    try:
        updates = PostgresLog(connections, channel=settings.channel, shown=shown)
        await updates.identify()
        bounds = await updates.bounds()
        log.info("backbone.opened", url=shown, floor=bounds.floor, head=bounds.head)
        yield updates
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()
