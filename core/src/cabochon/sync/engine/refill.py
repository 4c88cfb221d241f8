"""Make an engine hold everything it should: one that was met for the first time, was emptied, or was away."""

from __future__ import annotations

from enum import Enum, auto
from functools import partial

import anyio

from cabochon.documents import json_values
from cabochon.documents.off_loop import off_loop
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.sync.engine.access import EngineAccess
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.outcome.follow_ups import FollowUps
from cabochon.transactions.changes import DeleteData

__all__ = ["Content", "Refill"]


class Content(Enum):
    """How much of what it should hold this life has written into the engine."""

    NONE = auto()
    PART = auto()
    """It went away while it was filled, or is being filled."""
    WHOLE = auto()
    """All of it, when it was last filled; what came since was put off, if not written."""


class Refill:
    """Belongs to the committer's task. All of it raises `EngineAway` and `StateLostError` as a commit does."""

    def __init__(
        self,
        engine: EngineAccess,
        policies: PolicyWriter,
        follow_ups: FollowUps,
        *,
        timeout_s: float,
    ) -> None:
        self._view = engine.view
        self._values = engine.values
        self._earlier = engine.earlier
        self._policies = policies
        self._follow_ups = follow_ups
        self._timeout_s = timeout_s
        self.content = Content.NONE

    async def fill(self, *, intact: bool) -> None:
        """Write what is put off; or all of it, unless the engine is `intact`: it holds what was written before."""
        view = self._view
        view.log.filling()
        paths = list(view.put_off)
        # An engine that holds our marker may still lack documents, if it went away while it was filled.
        if not intact or self.content is not Content.WHOLE or not view.ask.can_tell:
            await self._begin_anew()
            # What was deleted while the engine was away may still be there, if it can't tell that it was emptied.
            paths = [*view.desired.owned(), *(path for path in paths if view.desired.holder(path) is None)]
        refused = await self._values.documents([*paths, *view.desired.not_restored])
        if again := self._take_back(refused):
            refused |= await self._values.documents(again)
        await self._see_what_is_there(refused)
        view.desired.not_restored.restored_but(refused)
        view.log.filled(view.put_off.writes, alone=not self._earlier.left_over)
        await self._values.state()
        self.content = Content.WHOLE
        self._follow_ups.restored(view.put_off.written())
        await self._earlier.finish()

    async def restore_refused(self) -> None:
        """Write what the engine refused when it was filled once more, for policies have changed."""
        desired = self._view.desired
        desired.not_restored.restored_but(await self._values.documents(list(desired.not_restored)))
        self._view.log.tried_to_restore()
        await self._values.state()

    async def _begin_anew(self) -> None:
        if self.content is Content.WHOLE:
            self.content = Content.PART
        self._view.life.begin_anew()
        await self._values.state()
        self.content = Content.PART
        await self._policies.restore()

    def _take_back(self, refused: dict[DocumentPath, StoreRejectedError]) -> list[DocumentPath]:
        """Return to what was before the writes that were put off and are refused now, out of `refused`.

        Returns where to write again.
        """
        view = self._view
        tops: dict[DocumentPath, StoreRejectedError] = {}
        for path in list(refused):
            top = view.put_off.region(path)
            if top is not None:
                error = refused.pop(path)
                tops.setdefault(top, error)
        again: list[DocumentPath] = []
        left_over = set(self._earlier.left_over)
        for top, error in tops.items():
            view.log.refused_after_all(top, str(error), number=view.put_off.newest(top))
            again.extend(view.put_off.take_back(top, left_over=left_over))
        if tops:
            self._follow_ups.refused(tops)
        return again

    async def _see_what_is_there(self, refused: dict[DocumentPath, StoreRejectedError]) -> None:
        """An engine that refuses a document may hold it all the same; it must not hold another one in its place."""
        for path in list(refused):
            wanted = self._view.desired.read(path)
            with anyio.fail_after(self._timeout_s):
                there = await self._view.ask.read_back(path)
            if there is None:
                continue
            if wanted is not None and await off_loop(partial(json_values.same, wanted), there):
                del refused[path]
            else:
                await self._values.one(DeleteData(path))
