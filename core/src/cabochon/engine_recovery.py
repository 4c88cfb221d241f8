"""An engine that is not there, comes back, or comes back empty: notice it, and make it hold what it should.

First contact is the same thing: an engine that this life of the agent has never filled. Nothing here trusts a clock or
a connection; what counts is the marker (or restart token) that the engine shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.change_compiler import chunks, path_of
from cabochon.document_path import ROOT, DocumentPath
from cabochon.engine_access import EngineAccess
from cabochon.engine_sender import EngineAway
from cabochon.engine_view import Dirty
from cabochon.errors import StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.metrics import Metrics
from cabochon.policy_store import Change, Changes, CommitResult, SetData, SupportsMarker, Write
from cabochon.transaction_log import TransactionLog

__all__ = ["EngineRecovery", "PolicyLane"]

log = structlog.get_logger()

_CHUNK_BYTES = 16_000_000
_PROBE_TIMEOUT_S = 3.0
"""With a look every second, an engine that hangs is found within five."""


class PolicyLane(Protocol):
    """Who writes policies."""

    async def restore(self) -> None:
        """Write the whole desired set of policies; `EngineAway` if the engine does not take it."""
        ...


class EngineRecovery:
    """Belongs to the committer's task: nothing here runs beside a commit."""

    def __init__(
        self,
        engine: EngineAccess,
        policies: PolicyLane,
        *,
        timeout_s: float,
        backoff: Backoff,
        metrics: Metrics,
        on_restored: Callable[[Mapping[DocumentPath, Dirty], Mapping[DocumentPath, StoreRejectedError]], None],
    ) -> None:
        self._view = engine.view
        self._panel = engine.panel
        self._compiler = engine.compiler
        self._sender = engine.sender
        self._policies = policies
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._metrics = metrics
        self._on_restored = on_restored
        self._tries = 0
        self._next_try_at = 0.0
        self._met = False
        self._incomplete = True
        self.probed_at = 0.0
        self.away = True
        self.why_away: Exception = StoreUnavailableError("the policy store has not answered yet")

    # ------------------------------------------------------------------------------------------------- noticing

    async def first_contact(self) -> None:
        """Fill the engine, or give up after the commit deadline and go on without it."""
        deadline = anyio.current_time() + self._timeout_s
        while not await self.refill():
            wait = self._backoff.wait_s(self._tries)
            if anyio.current_time() + wait >= deadline:
                self._next_try_at = anyio.current_time() + wait
                return
            await anyio.sleep(wait)

    async def probe(self) -> bool:
        """Look whether the engine still holds our state, and see to it if not; tell whether it did."""
        try:
            with anyio.fail_after(min(self._timeout_s, _PROBE_TIMEOUT_S)):
                if await self._view.holds_our_state():
                    self.probed_at = anyio.current_time()
                    return True
        except (StoreUnavailableError, TimeoutError) as err:
            self.lost_contact(EngineAway(err))
            return False
        self._metrics.count("engine.state_lost")
        log.warning("engine.state_lost", noticed_by="probe")
        await self.refill()
        return False

    def lost_contact(self, why: EngineAway) -> None:
        """Take note that the engine does not answer."""
        if not self.away:
            self._metrics.count("engine.lost")
            log.warning("engine.lost", error=str(why))
        self.away = True
        self.why_away = StoreUnavailableError(f"the policy store is not available: {why}")
        self._tries = 0
        self._next_try_at = anyio.current_time() + self._backoff.wait_s(1)

    def next_try_in_s(self) -> float:
        """Seconds until the engine is asked again."""
        return max(0.0, self._next_try_at - anyio.current_time())

    async def try_again(self) -> None:
        """Ask the engine whether it is back, if it is time to."""
        if self.next_try_in_s() <= 0 and not await self.refill():
            self._next_try_at = anyio.current_time() + self._backoff.wait_s(self._tries)

    # -------------------------------------------------------------------------------------------------- filling

    async def refill(self) -> bool:
        """Make the engine hold everything it should; tell whether it does now."""
        self._tries += 1
        try:
            with anyio.fail_after(self._timeout_s):
                intact = self._met and await self._view.holds_our_state()
                if intact:
                    await self._view.settle_marker()
                else:
                    await self._view.note_token()
                    self._view.inherited = await self._view.left_by_others()
            # An engine that holds our marker may still lack documents, if it went away while it was filled.
            await self._fill(everything=not intact or self._incomplete or not self._view.can_tell())
        except (StoreUnavailableError, TimeoutError, EngineAway) as err:
            self.lost_contact_while_filling(err)
            return False
        except StateLostError:
            log.warning("engine.state_lost", noticed_by="refill")
            self.lost_contact_while_filling(StoreUnavailableError("the engine loses its state"))
            return False
        if self.away:
            log.info("engine.filled", documents_restored=not intact)
        self.away = False
        self._tries = 0
        return True

    def lost_contact_while_filling(self, why: Exception) -> None:
        """Take note that the engine went away, or never came."""
        self._view.desired.rollback()
        tries = self._tries
        self.lost_contact(why if isinstance(why, EngineAway) else EngineAway(why))
        self._tries = tries

    async def _fill(self, *, everything: bool) -> None:
        view = self._view
        view.log = view.log.with_engine(current=False)
        if everything:
            self._incomplete = True
            view.marker = None
            await self._commit((), self._state())
            self._met = True
            await self._policies.restore()
            paths: Sequence[DocumentPath] = list(view.desired.owned())
            # What was deleted while the engine was away, and may still be there if it can't tell that it was emptied.
            paths = [*paths, *(path for path in view.dirty if view.desired.holder(path) is None)]
        else:
            paths = list(view.dirty)
        dirty = dict(view.dirty)
        refused = await self._write_documents(paths)
        view.log = self._log_after(dirty, refused).with_engine(current=not view.inherited)
        await self._commit((), self._state())
        self._incomplete = False
        view.dirty.clear()
        self._on_restored(dirty, refused)
        await self.finish_life()

    async def _write_documents(self, paths: Sequence[DocumentPath]) -> dict[DocumentPath, StoreRejectedError]:
        changes: list[Change] = []
        seen: set[DocumentPath] = set()
        for path in paths:
            holder = self._view.desired.holder(path) or path
            if holder not in seen:
                seen.add(holder)
                restored = await self._compiler.restore(path)
                seen.update(written for change in restored if (written := path_of(change)) is not None)
                changes.extend(restored)
        self._view.desired.settle()
        refused: dict[DocumentPath, StoreRejectedError] = {}
        for piece in self._pieces(changes):
            await self._write_piece(piece, refused)
        return refused

    async def _write_piece(self, piece: list[Change], refused: dict[DocumentPath, StoreRejectedError]) -> None:
        refusal = (await self._commit((Write("restore", tuple(piece)),), self._state())).refusal
        if refusal is None:
            return
        if len(piece) == 1:
            # A listener's part may be what it refuses: the document must not pay for that.
            refusal = (await self._commit((Write("restore", tuple(piece)),), ())).refusal
            if refusal is None:
                return
            path = path_of(piece[0]) or ROOT
            log.error("engine.restore_refused", dst_path=str(path), error=str(refusal))
            refused[path] = refusal
            return
        for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :]):
            await self._write_piece(half, refused)

    async def rewrite(self, paths: Sequence[DocumentPath]) -> StoreRejectedError | None:
        """Write what the engine should hold at these paths by value; return why it refuses, None if it does not.

        Raises:
            EngineAway: it does not answer.
            StateLostError: it has lost our state.
        """
        changes = [change for path in paths for change in await self._compiler.restore(path)]
        self._view.desired.settle()
        for piece in self._pieces(changes):
            refusal = (await self._commit((Write("rewrite", tuple(piece)),), ())).refusal
            if refusal is not None:
                return refusal
        return None

    async def finish_life(self) -> None:
        """Remove what an earlier life left and this one, now synced, did not write again; then the agent is ready."""
        view = self._view
        if not view.inherited or not view.log.synced:
            return
        gone = [path for path in view.inherited if view.desired.document(path) is None]
        changes: list[Change] = []
        for path in gone:
            if view.desired.holder(path) is None:
                changes.extend(await self._compiler.restore(path))
        pieces = self._pieces(changes)
        for number, piece in enumerate(pieces, start=1):
            # They are on the engine's list until the last of them is gone.
            releases = gone if number == len(pieces) else ()
            await self._commit((Write("earlier-life", tuple(piece)),), self._state(), releases=releases)
        log.info("engine.earlier_life_removed", paths=len(gone))
        view.inherited = []
        view.log = view.log.with_engine(current=True)
        await self._commit((), self._state())

    # ------------------------------------------------------------------------------------------------------ how

    def _pieces(self, changes: Sequence[Change]) -> list[list[Change]]:
        traits = self._view.store.traits
        limit = 1 if traits.atomic == "change" else traits.max_changes or 500
        return chunks(changes, max_changes=limit, max_bytes=min(_CHUNK_BYTES, traits.max_bytes or _CHUNK_BYTES))

    def _state(self) -> list[Change]:
        return [change for _, change in self._panel.changes((), self._view.log)]

    def _log_after(
        self, dirty: Mapping[DocumentPath, Dirty], refused: Mapping[DocumentPath, StoreRejectedError]
    ) -> TransactionLog:
        replaced = {path: why.number for path, why in dirty.items() if why.replaced and path not in refused}
        patched = {path: why.number for path, why in dirty.items() if not why.replaced and path not in refused}
        newest = max((why.arrival for path, why in dirty.items() if path not in refused), default=0)
        return self._view.log.with_restored(replaced, patched, newest=newest)

    async def _commit(
        self, writes: tuple[Write, ...], state: Sequence[Change], *, releases: Sequence[DocumentPath] = ()
    ) -> CommitResult:
        if not writes and not state and not isinstance(self._view.store, SupportsMarker):
            return CommitResult(())
        guard = self._view.guard()
        claims = tuple(change.path for write in writes for change in write.changes if isinstance(change, SetData))
        changes = Changes(writes, tuple(state), guard, claims, tuple(releases))
        result = await self._sender.send(changes, by_value=True)
        if result.landed:
            self._view.landed(guard)
        return result
