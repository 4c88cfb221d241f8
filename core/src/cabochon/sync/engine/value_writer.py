"""Commits beside the queue: documents by value, as they should be, and the listeners' state without any data."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.sync.desired.compiler import ChangeCompiler, chunks, path_of
from cabochon.sync.engine.listeners import ListenerPanel, quarantine_guilty
from cabochon.sync.engine.sender import EngineAway, EngineSender
from cabochon.sync.engine.view import EngineView
from cabochon.transactions.changes import Change, Changes, SetData, Write
from cabochon.transactions.commit_result import STATE, CommitResult

__all__ = ["ValueWriter"]

log = structlog.get_logger()

_CHUNK_BYTES = 16_000_000


class ValueWriter:
    """Writes what the engine should hold whatever it holds now, so that writing it twice does no harm.

    Every method that writes raises `EngineAway` where the engine does not answer, and `StateLostError` where it has
    lost our state.
    """

    def __init__(self, view: EngineView, panel: ListenerPanel, compiler: ChangeCompiler, sender: EngineSender) -> None:
        self._view = view
        self._panel = panel
        self._compiler = compiler
        self._sender = sender

    async def documents(self, paths: Sequence[DocumentPath]) -> dict[DocumentPath, StoreRejectedError]:
        """Write the documents that these paths lie in, or remove what is there; return which are refused, and why."""
        desired = self._view.desired
        changes: list[Change] = []
        seen: set[DocumentPath] = set()
        for path in paths:
            holder = desired.holder(path)
            if holder is None and not path and not desired.owned_facts:
                # The root is no document: what was written there is on the list by its members.
                continue
            if (holder or path) not in seen:
                seen.add(holder or path)
                restored = await self._compiler.restore(path)
                seen.update(written for change in restored if (written := path_of(change)) is not None)
                changes.extend(restored)
        desired.settle()
        return await self.changes(changes)

    async def changes(self, changes: Sequence[Change]) -> dict[DocumentPath, StoreRejectedError]:
        """Write these changes; return what is refused, and why."""
        refused: dict[DocumentPath, StoreRejectedError] = {}
        for piece in self._pieces(changes):
            await self._piece(piece, refused)
        return refused

    async def rewrite(self, paths: Sequence[DocumentPath]) -> StoreRejectedError | None:
        """Write what the engine should hold at these paths, up to the first refusal; return that, None if none is."""
        changes = [change for path in paths for change in await self._compiler.restore(path)]
        self._view.desired.settle()
        for piece in self._pieces(changes):
            refusal = (await self._commit((Write("rewrite", tuple(piece)),), ())).refusal
            if refusal is not None:
                return refusal
        return None

    async def one(self, change: Change) -> None:
        """Write one change, refused or not."""
        await self._commit((Write("restore", (change,)),), ())

    async def state(self, *, releases: Sequence[DocumentPath] = ()) -> None:
        """Write the state alone; a listener whose part is refused is taken out of service."""
        while True:
            state = self._panel.changes((), self._view.log.now)
            result = await self._commit((), [change for _, change in state], releases=releases)
            if result.refusal is None:
                return
            if not state:
                raise EngineAway(result.refusal)
            blame = result.blame
            if blame is not None and blame.write == STATE:
                self._panel.quarantine(state[blame.change][0], result.refusal)
            else:
                await quarantine_guilty(self._panel, self._refusal_of)

    # ------------------------------------------------------------------------------------------------------ how

    def _pieces(self, changes: Sequence[Change]) -> list[list[Change]]:
        traits = self._view.store.traits
        limit = 1 if traits.atomic == "change" else traits.max_changes or 500
        return chunks(changes, max_changes=limit, max_bytes=min(_CHUNK_BYTES, traits.max_bytes or _CHUNK_BYTES))

    async def _piece(self, piece: list[Change], refused: dict[DocumentPath, StoreRejectedError]) -> None:
        write = Write("restore", tuple(piece))
        state = [change for _, change in self._panel.changes((), self._view.log.now)]
        result = await self._commit((write,), state)
        if not result.data_landed and len(piece) == 1:
            # A listener's part may be what it refuses: the document must not pay for that.
            result = await self._commit((write,), ())
        if result.data_landed:
            return
        if len(piece) == 1:
            path = path_of(piece[0]) or ROOT
            error = result.refusal or StoreRejectedError("the engine's answer was lost")
            log.error("engine.restore_refused", dst_path=str(path), error=str(error))
            refused[path] = error
            return
        for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :]):
            await self._piece(half, refused)

    async def _refusal_of(self, listener: str | None) -> StoreRejectedError | None:
        state = self._panel.changes((), self._view.log.now, only=listener)
        return (await self._commit((), [change for _, change in state])).refusal

    async def _commit(
        self, writes: tuple[Write, ...], state: Sequence[Change], *, releases: Sequence[DocumentPath] = ()
    ) -> CommitResult:
        if not (writes or state or releases or self._view.ask.has_marker):
            return CommitResult(())
        guard = self._view.life.guard()
        claims = tuple(change.path for write in writes for change in write.changes if isinstance(change, SetData))
        changes = Changes(writes, tuple(state), guard, claims, tuple(releases))
        return await self._sender.send(changes, by_value=True)
