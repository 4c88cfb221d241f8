"""The log of several servers, in Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import uuid4

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from cabochon import Backbone, BackboneError, Bounds, LogRecord, LogReplacedError, LogTrimmedError, NewRecord, Retention
from cabochon.kit.append_batches import AppendBatches
from cabochon_redis_backbone import scripts

__all__ = ["RedisLog"]

_PAGE = 500
_PAGE_BYTES = 4 << 20
_BITE = 500
_WAIT_MS = 1000
_TOPICS = msgspec.json.Decoder(tuple[str, ...])


class RedisLog(Backbone):
    """The log, open: whatever must not come apart is a script, so that no server sees half of it.

    Args:
        commands: for what is answered at once; it must not try anything again by itself, for an append that was lost on
            its way back would be there twice.
        waiting: for those who follow: each holds a connection while it waits.
        name: the log's among others in the same Redis.
        shown: the URL of Redis as messages may show it.
    """

    def __init__(self, commands: Redis, waiting: Redis, *, name: str, shown: str) -> None:
        self.log_id = ""
        self._commands = commands
        self._waiting = waiting
        self._shown = shown
        self._appends = AppendBatches(self._write)
        self._keys = [f"{{{name}}}:{part}" for part in ("log", "about", "superseded", "documents")]
        self._scripts = {
            text: commands.register_script(text)
            for text in (getattr(scripts, constant) for constant in scripts.__all__)
        }

    async def identify(self) -> None:
        """Learn the identity of the log, or make a new log.

        Raises:
            BackboneError: Redis can't be reached, or refuses.
        """
        with self._told():
            self.log_id = bytes(await self._scripts[scripts.IDENTIFY](self._keys, [uuid4().hex])).decode()

    # ---------------------------------------------------------------------------------------------------- records

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Append; as durable as Redis is configured to be."""
        if not records:
            return ()
        return await self._appends.append(records, sum(len(record.body) for record in records))

    async def _write(self, records: Sequence[NewRecord]) -> int:
        given: list[str | bytes] = []
        for record in records:
            given += (record.kind, msgspec.json.encode(record.topics), record.body)
        return int(await self._run(scripts.APPEND, *given)) - len(records) + 1

    async def bounds(self) -> Bounds:
        """Return how far the log reaches."""
        floor, head = await self._run(scripts.BOUNDS)
        return Bounds(floor, head)

    async def read(self, after: int, *, limit: int) -> Sequence[LogRecord]:
        """Return a page: no more than about 4 MB where records are large."""
        return await self._read(self.log_id, after, limit)

    async def _read(self, log_id: str, after: int, limit: int) -> list[LogRecord]:
        floor, entries = await self._run(scripts.READ, after, limit, _PAGE_BYTES, log_id=log_id)
        if after < floor:
            raise LogTrimmedError(f"the update log in {self._shown} begins after {floor}", floor=floor)
        return [_record(*entry) for entry in entries]

    async def follow(self, after: int) -> AsyncGenerator[Sequence[LogRecord]]:
        """Give pages; a blocking read of the stream wakes who waits, and what it brings is read by number."""
        log_id = self.log_id
        while True:
            page = await self._read(log_id, after, _PAGE)
            if page:
                after = page[-1].number
                yield page
                continue
            if await self._run(scripts.RENEW, after, uuid4().hex, log_id=log_id):
                await self.identify()
                raise LogReplacedError(f"the update log in {self._shown} has lost its end: everyone starts afresh")
            with self._told():
                await self._waiting.xread({self._keys[0]: f"{after}-0"}, count=1, block=_WAIT_MS)

    # ------------------------------------------------------------------------------------------- compact and trim

    async def compact(self, superseded: Mapping[int, int]) -> None:
        """Remove what later records make needless."""
        pairs = list(superseded.items())
        for start in range(0, len(pairs), _BITE):
            await self._run(scripts.COMPACT, *(number for pair in pairs[start : start + _BITE] for number in pair))

    async def superseded(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Return what was compacted, and by what."""
        found: dict[int, int] = {}
        asked = list(numbers)
        for start in range(0, len(asked), _BITE):
            members = await self._run(scripts.SUPERSEDED, *asked[start : start + _BITE])
            found |= {int(number): int(by) for number, _, by in (member.partition(b":") for member in members)}
        return found

    async def trim(self, limits: Retention) -> Bounds:
        """Remove the oldest records in bites of 500."""
        age = "" if limits.max_age_s is None else int(limits.max_age_s * 1e6)
        most = "" if limits.max_bytes is None else limits.max_bytes
        while await self._run(scripts.TRIM, age, most, _BITE):
            pass
        return await self.bounds()

    # --------------------------------------------------------------------------------------------------- register

    async def save_documents(self, documents: Mapping[str, bytes]) -> None:
        """Keep these documents."""
        if documents:
            with self._told():
                await cast("Any", self._commands.hset(self._keys[3], mapping=cast("Any", dict(documents))))

    async def documents(self) -> Mapping[str, bytes]:
        """Return all documents."""
        with self._told():
            found: dict[bytes, bytes] = await cast("Any", self._commands.hgetall(self._keys[3]))
        return {name.decode(): document for name, document in found.items()}

    async def forget_documents(self, names: Collection[str]) -> None:
        """Drop these documents."""
        if names:
            with self._told():
                await cast("Any", self._commands.hdel(self._keys[3], *names))

    # -------------------------------------------------------------------------------------------------- the other end

    async def _run(self, script: str, *args: str | bytes | int, log_id: str | None = None) -> Any:  # noqa: ANN401
        """Run a script on the log of this identity.

        Raises:
            LogReplacedError: Redis holds another log by now, whose identity is known from here on.
            BackboneError: Redis can't be reached, or refuses.
        """
        try:
            with self._told():
                return await self._scripts[script](self._keys, [log_id or self.log_id, *args])
        except _WipedError as err:
            await self.identify()
            raise LogReplacedError(f"the update log in {self._shown} was wiped: it begins anew") from err

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except ResponseError as err:
            if str(err).startswith("REPLACED"):
                raise _WipedError from err
            raise BackboneError(f"{self._shown} refuses: {err}") from err
        except (RedisError, OSError) as err:
            raise BackboneError(f"{self._shown} can't be reached: {err}") from err


class _WipedError(Exception):
    """Redis does not hold the log any more."""


def _record(entry: bytes, fields: Sequence[bytes]) -> LogRecord:
    _, kind, _, topics, _, body, _, appended_us = fields
    number = int(entry.partition(b"-")[0])
    return LogRecord(number, kind.decode(), _TOPICS.decode(topics), body, int(appended_us) / 1e6)
