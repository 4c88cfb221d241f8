"""A few connections to one database, opened when they are needed; nothing waits for a database that is away."""

from __future__ import annotations

import select
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
from psycopg import AsyncConnection, Error
from psycopg.errors import UndefinedTable

from cabochon import BackboneError

__all__ = ["Connections", "WipedError"]

_CONNECT_S = 5
_ANSWER_S = 15.0


class WipedError(Exception):
    """The tables, or the log's row, are not there."""


class Connections:
    """Connections in autocommit mode; each is used by one task at a time, and closed when something went wrong."""

    def __init__(self, url: str, shown: str, *, most: int = 8) -> None:
        self._url = url
        self._shown = shown
        self._idle: list[AsyncConnection[Any]] = []
        self._turns = anyio.Semaphore(most)

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[AsyncConnection[Any]]:
        """Lend a connection for something that is answered at once.

        Raises:
            BackboneError: the database can't be reached, or refuses.
            WipedError: what should be there is not.
        """
        async with self._turns:
            with self.told():
                connection = self._alive() or await self.connect()
                try:
                    with anyio.fail_after(_ANSWER_S):
                        yield connection
                except BaseException:
                    # Whatever state it is in, nobody else should see it.
                    with anyio.CancelScope(shield=True):
                        await connection.close()
                    raise
                self._idle.append(connection)

    async def connect(self) -> AsyncConnection[Any]:
        """Open one for whoever keeps it.

        Raises:
            psycopg.Error: see `told`.
        """
        return await AsyncConnection.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            keepalives_idle=10,
            tcp_user_timeout=int(_ANSWER_S * 1000),
            application_name="cabochon",
        )

    async def close(self) -> None:
        """Close those that are idle."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    @contextmanager
    def told(self) -> Generator[None]:
        """Translate what psycopg raises; see `one`."""
        try:
            yield
        except UndefinedTable as err:
            raise WipedError from err
        except (Error, OSError) as err:
            first, *_ = str(err).splitlines() or [type(err).__name__]
            raise BackboneError(f"{self._shown} can't be reached, or refuses: {first}") from err

    def _alive(self) -> AsyncConnection[Any] | None:
        while self._idle:
            connection = self._idle.pop()
            # Nothing is expected of an idle one: if something can be read, it is its end.
            if not connection.closed and not select.select([connection.fileno()], [], [], 0)[0]:
                return connection
            connection.pgconn.finish()
        return None
