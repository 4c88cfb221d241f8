"""This life of the agent, as the engine shows it: what must be found in an engine that still holds what we wrote."""

from __future__ import annotations

import uuid

from cabochon.sync.engine.questions import EngineQuestions
from cabochon.transactions.changes import Guard, Marker

__all__ = ["EngineLife"]


class EngineLife:
    """The marker, or the restart token, of the engine as this agent filled it.

    Attributes:
        marker: what the engine holds since the last commit, None before the first.
    """

    def __init__(self, ask: EngineQuestions) -> None:
        self._ask = ask
        self._epoch = _new_epoch()
        self._number = 0
        """Of the newest commit that was tried; no two tries share one."""
        self._in_doubt: Marker | None = None
        """What the engine may hold in place of the marker, after a lost answer."""
        self._token: str | None = None
        self._backed_up: Marker | None = None
        self.marker: Marker | None = None

    # ------------------------------------------------------------------------------------------------- told by commits

    def guard(self) -> Guard:
        """Return the guard of the next commit."""
        self._number += 1
        return Guard(self.marker, Marker(self._epoch, self._number))

    def landed(self, guard: Guard | None) -> None:
        """Take note that a commit with this guard is in the engine."""
        if guard is not None:
            self.marker, self._in_doubt = guard.leaves, None

    def may_hold(self, guard: Guard) -> None:
        """Take note that a commit with this guard may be in the engine: its answer was lost."""
        self._in_doubt = guard.leaves

    # --------------------------------------------------------------------------------------------- told by the refill

    async def holds_our_state(self) -> bool:
        """Ask the engine whether it is the one we filled; True where it has no way to tell.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        if self._ask.has_marker:
            found = await self._ask.marker()
            return found is not None and found in {self.marker, self._in_doubt}
        if self._ask.can_tell:
            return await self._ask.restart_token() == self._token
        await self._ask.health()
        return True

    async def settle_marker(self) -> None:
        """Take the marker that the engine holds for ours, where that was in doubt.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        if self._in_doubt is not None:
            if await self._ask.marker() == self._in_doubt:
                self.marker = self._in_doubt
            self._in_doubt = None

    async def note_token(self) -> None:
        """Remember the token of the engine that is about to be filled.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        self._token = await self._ask.restart_token()

    def begin_anew(self) -> None:
        """Take note that the engine is about to be filled: what it holds from now on is no state of before."""
        self._epoch, self.marker = _new_epoch(), None

    # ------------------------------------------------------------------------------------------------- and the backup

    def come_from_backup(self, marker: Marker | None) -> None:
        """Take note that what is desired is from a backup, which was made when the engine held this marker."""
        self._backed_up = marker

    async def is_past_backup(self) -> bool:
        """Ask the engine whether it holds a later state of the life that the backup is from.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        if self._backed_up is None:
            return False
        found = await self._ask.marker()
        return found is not None and found.epoch == self._backed_up.epoch and found.number > self._backed_up.number

    def leave_backup(self) -> None:
        """Take note that what is desired is no older than the engine any more."""
        self._backed_up = None


def _new_epoch() -> str:
    return uuid.uuid4().hex
