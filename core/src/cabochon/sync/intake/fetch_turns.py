"""Wait for a turn where many want to work for many hosts, so that those which hang leave room for the others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from cabochon.sync.rules.host_shares import Shares

__all__ = ["Turn", "Turns"]

_HANGS_S = 1.0


class Turn:
    """One piece of work; `well` is set at its end if it says how its host does."""

    __slots__ = ("granted", "well")

    def __init__(self) -> None:
        self.granted = anyio.Event()
        self.well: bool | None = None


class Turns:
    """At most so many turns at a time, shared out by `Shares`."""

    def __init__(self, side_by_side: int) -> None:
        self._shares: Shares[Turn] = Shares(side_by_side)

    @property
    def taken(self) -> int:
        """How many there are now."""
        return self._shares.running

    @asynccontextmanager
    async def one(self, host: str) -> AsyncGenerator[Turn]:
        """Work while the block lasts; one that is cancelled after a second or more counts as hanging."""
        turn = Turn()
        self._shares.add(host, turn)
        self._grant()
        try:
            await turn.granted.wait()
        except BaseException:
            if turn.granted.is_set():
                self._shares.done(turn, well=None)
            else:
                self._shares.withdraw(host, turn)
            self._grant()
            raise
        began = anyio.current_time()
        try:
            yield turn
        except anyio.get_cancelled_exc_class():
            turn.well = False if anyio.current_time() - began >= _HANGS_S else None
            raise
        finally:
            self._shares.done(turn, well=turn.well)
            self._grant()

    def _grant(self) -> None:
        while (turn := self._shares.take()) is not None:
            turn.granted.set()
