"""Tell a source that wants to know how far the agent has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.update_source import UpdateSource
from cabochon.errors import SourceError
from cabochon.sync.bell import Bell
from cabochon.sync.intake.source_calls import asked

__all__ = ["Acknowledgements"]

log = structlog.get_logger()

_TIMEOUT_S = 10.0


def _nothing(_error: str | None = None) -> None:
    """Do nothing: the source doesn't want to know."""


class Acknowledgements:
    """Positions in the order they came; one is acknowledged when its update and all before it have ended."""

    def __init__(self, source: UpdateSource) -> None:
        self._source = source
        self._wanted = type(source).acknowledge is not UpdateSource.acknowledge
        self._wants_ends = type(source).ended is not UpdateSource.ended
        self._open: deque[list[Any]] = deque()
        self._ready: Any = None
        self._bell = Bell()
        self._backoff = Backoff(longest_s=60)

    def expect(self, position: object) -> Callable[[str | None], None]:
        """Take note of a position; call what is returned when its update has ended, with the error or None.

        It may be called again, with None, when an update that failed is in force after all.
        """
        if position is None or not (self._wanted or self._wants_ends):
            return _nothing
        place: list[Any] = [position, False]
        if self._wanted:
            self._open.append(place)

        def ended(error: str | None) -> None:
            place[1] = True
            while self._open and self._open[0][1]:
                self._ready = self._open.popleft()[0]
                self._bell.ring()
            if self._wants_ends:
                self._tell(position, error)

        return ended

    def _tell(self, position: object, error: str | None) -> None:
        try:
            self._source.ended(position, error)
        except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a source raises is the source's
            log.warning("update_source.ended_failed", error=f"{type(err).__name__}: {err}")

    async def run(self) -> None:
        """Acknowledge, until cancelled; only the newest position matters."""
        tries = 0
        while self._wanted:
            await self._bell.answered()
            position, self._ready = self._ready, None
            try:
                await asked(partial(self._source.acknowledge, position), within_s=_TIMEOUT_S)
            except SourceError as err:
                log.warning("update_source.acknowledge_failed", error=str(err))
                if self._ready is None:
                    self._ready = position
                tries += 1
                await anyio.sleep(self._backoff.wait_s(tries))
                self._bell.ring()
            else:
                tries = 0
