"""Compaction and retention of the log, in the background and in small bites."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import structlog

from cabochon import Backbone, BackboneError, LogReplacedError, LogTrimmedError, Retention
from cabochon_opal_server.log.compaction import Compaction

__all__ = ["Housekeeping"]

log = structlog.get_logger()

_BITE = 200
_PAUSE_S = 0.01


class Housekeeping:
    """Reads the log behind everyone else, removes what later updates make needless, and what is too old or too much.

    Each server of a fleet may do so: what one has removed, the others pass over.
    """

    def __init__(
        self,
        backbone: Backbone,
        limits: Retention,
        *,
        every: timedelta = timedelta(seconds=10),
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._backbone = backbone
        self._limits = limits
        self._every_s = every.total_seconds()
        self._sleep = sleep
        self._begin()

    def _begin(self) -> None:
        self._compaction = Compaction()
        self._after = 0
        self._superseded: dict[int, int] = {}

    async def run(self) -> None:
        """Tidy up again and again, until cancelled; where the backbone fails, later."""
        while True:
            try:
                await self.tidy()
            except LogReplacedError:
                self._begin()
            except BackboneError as err:
                log.warning("update_log.not_tidied", error=str(err))
            await self._sleep(self._every_s)

    async def tidy(self) -> None:
        """Do once what there is to do.

        Raises:
            BackboneError: the backbone can't be reached; nothing of what is to be done is forgotten.
        """
        before = await self._backbone.bounds()
        bounds = await self._backbone.trim(self._limits)
        if bounds.floor > before.floor:
            log.info("update_log.trimmed", floor=bounds.floor, head=bounds.head)
        self._after = max(self._after, bounds.floor)
        compacted = 0
        while self._superseded or await self._read_on():
            compacted += len(self._superseded)
            await self._backbone.compact(self._superseded)
            self._superseded = {}
            # Others come first: nobody waits for this.
            await self._sleep(_PAUSE_S)
        if compacted:
            log.info("update_log.compacted", records=compacted, head=self._after)

    async def _read_on(self) -> bool:
        """Look at the next records; say whether there were any."""
        try:
            page = await self._backbone.read(self._after, limit=_BITE)
        except LogTrimmedError as err:
            self._after = err.floor
            return True
        for record in page:
            superseded = self._compaction.add(record)
            self._superseded.update(dict.fromkeys(superseded, record.number))
            self._after = record.number
        return bool(page)
