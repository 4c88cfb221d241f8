"""An engine that is not there, comes back, or comes back empty: notice it, and make it hold what it should.

First contact is the same thing: an engine that this life of the agent has never filled. Nothing here trusts a clock or
a connection; what counts is the marker (or restart token) that the engine shows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.contract.powers import SupportsMarker
from cabochon.documents import json_values
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.sync.desired.compiler import ChangeCompiler, chunks, path_of
from cabochon.sync.desired.put_off import PutOffWrite
from cabochon.sync.engine.earlier_life import adopted, disown
from cabochon.sync.engine.listeners import ListenerPanel, quarantine_guilty
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.engine.sender import EngineAway, EngineSender
from cabochon.sync.engine.view import EngineView
from cabochon.transactions.changes import Change, Changes, DeleteData, SetData, Write
from cabochon.transactions.commit_result import STATE, CommitResult
from cabochon.transactions.log import TransactionLog

__all__ = ["EngineAccess", "EngineRecovery"]

log = structlog.get_logger()

_CHUNK_BYTES = 16_000_000
_ASK_TIMEOUT_S = 2.0
"""An engine that was away is asked again after this long: its answer to a question from before may never come."""


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """What is known of the engine, who adds to commits, who makes changes, and who sends them."""

    view: EngineView
    panel: ListenerPanel
    compiler: ChangeCompiler
    sender: EngineSender


class EngineRecovery:
    """Belongs to the committer's task: nothing here runs beside a commit."""

    def __init__(
        self,
        engine: EngineAccess,
        policies: PolicyWriter,
        *,
        timeout_s: float,
        probe_timeout_s: float,
        backoff: Backoff,
        metrics: Metrics,
        on_restored: Callable[[Collection[DocumentPath]], None],
        on_refused: Callable[[Mapping[DocumentPath, StoreRejectedError]], None],
    ) -> None:
        self._view = engine.view
        self._panel = engine.panel
        self._compiler = engine.compiler
        self._sender = engine.sender
        self._policies = policies
        self._timeout_s = timeout_s
        self._probe_timeout_s = probe_timeout_s
        self._backoff = backoff
        self._metrics = metrics
        self._on_restored = on_restored
        self._on_refused = on_refused
        self._tries = 0
        self._next_try_at = 0.0
        self._met = False
        self._told = False
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
            with anyio.fail_after(min(self._timeout_s, self._probe_timeout_s)):
                if await self._view.holds_our_state():
                    self.probed_at = anyio.current_time()
                    return True
        except (StoreUnavailableError, TimeoutError) as err:
            self.lost_contact(EngineAway(err))
            return False
        await self.refill(noticed_by="probe")
        return False

    def lost_contact(self, why: EngineAway) -> None:
        """Take note that the engine does not answer."""
        if not self.away:
            self._metrics.count("engine.lost")
            log.warning("engine.lost", error=str(why))
        elif not self._told:
            log.warning("engine.not_there", error=str(why))
        self._told = True
        self.away = True
        self.why_away = StoreUnavailableError(f"the policy store is not available: {why}")
        self._tries = 0
        self._next_try_at = anyio.current_time() + self._backoff.wait_s(1)

    def next_try_in_s(self) -> float:
        """Seconds until the engine is asked again."""
        return max(0.0, self._next_try_at - anyio.current_time())

    async def try_again(self) -> None:
        """Ask the engine whether it is back, if it is time to."""
        began = anyio.current_time()
        if self.next_try_in_s() <= 0 and not await self.refill():
            # What a question took counts as part of the pause: an engine that is back is not left waiting.
            self._next_try_at = began + self._backoff.wait_s(self._tries)

    # -------------------------------------------------------------------------------------------------- filling

    async def refill(self, *, noticed_by: str = "refill") -> bool:
        """Make the engine hold everything it should; tell whether it does now."""
        self._tries += 1
        try:
            with anyio.fail_after(min(self._timeout_s, _ASK_TIMEOUT_S)):
                intact = self._met and await self._view.holds_our_state()
                if self._met and not intact:
                    self._metrics.count("engine.state_lost")
                    log.warning("engine.state_lost", noticed_by=noticed_by)
                if intact:
                    await self._view.settle_marker()
                else:
                    await self._view.note_token()
                    self._view.inherited = await self._view.left_by_others()
            await self._adopt_newer()
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

    async def _adopt_newer(self) -> None:
        """Want what the engine holds, where it is of the backup's life and newer: a backup is always a little late."""
        view = self._view
        if await view.is_newer_than_backup():
            differ = await adopted(view.desired, view.inherited, view.put_off, view.read_back)
            log.info("store_backup.outdated", documents=differ)
        view.backed_up = None

    def lost_contact_while_filling(self, why: Exception) -> None:
        """Take note that the engine went away, or never came."""
        self._view.desired.rollback()
        tries = self._tries
        self.lost_contact(why if isinstance(why, EngineAway) else EngineAway(why))
        self._tries = tries

    async def _fill(self, *, everything: bool) -> None:
        view = self._view
        view.log = view.log.with_engine(current=False)
        paths = list(view.put_off)
        if everything:
            self._incomplete = True
            view.start_epoch()
            await self._commit_state()
            self._met = True
            await self._policies.restore()
            # What was deleted while the engine was away may still be there, if it can't tell that it was emptied.
            paths = [*view.desired.owned(), *(path for path in paths if view.desired.holder(path) is None)]
        refused = await self._write_documents([*paths, *view.desired.withheld])
        if again := self._take_back(refused):
            refused |= await self._write_documents(again)
        await self._see_what_is_there(refused)
        view.desired.withheld = {path: str(error) for path, error in refused.items()}
        view.log = self._log_after(view.put_off.writes).with_engine(current=not view.inherited)
        await self._commit_state()
        self._incomplete = False
        self._on_restored(view.put_off.written())
        await self.finish_life()

    async def _write_documents(self, paths: Sequence[DocumentPath]) -> dict[DocumentPath, StoreRejectedError]:
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
        refused: dict[DocumentPath, StoreRejectedError] = {}
        for piece in self._pieces(changes):
            await self._write_piece(piece, refused)
        return refused

    async def _write_piece(self, piece: list[Change], refused: dict[DocumentPath, StoreRejectedError]) -> None:
        result = await self._commit((Write("restore", tuple(piece)),), self._state())
        if not result.data_landed and len(piece) == 1:
            # A listener's part may be what it refuses: the document must not pay for that.
            result = await self._commit((Write("restore", tuple(piece)),), ())
        if result.data_landed:
            return
        if len(piece) == 1:
            path = path_of(piece[0]) or ROOT
            error = result.refusal or StoreRejectedError("the engine's answer was lost")
            log.error("engine.restore_refused", dst_path=str(path), error=str(error))
            refused[path] = error
            return
        for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :]):
            await self._write_piece(half, refused)

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
        left_over = set(view.inherited)
        for top, error in tops.items():
            view.log = view.log.with_refused(top, str(error), number=view.put_off.newest(top))
            again.extend(view.put_off.take_back(top, left_over=left_over))
        if tops:
            self._on_refused(tops)
        return again

    async def _see_what_is_there(self, refused: dict[DocumentPath, StoreRejectedError]) -> None:
        """An engine that refuses a document may hold it all the same; it must not hold another one in its place."""
        for path in list(refused):
            wanted = self._view.desired.read(path)
            with anyio.fail_after(self._timeout_s):
                there = await self._view.read_back(path)
            if there is None:
                continue
            if wanted is not None and json_values.decode(wanted) == json_values.decode(there):
                del refused[path]
            else:
                await self._commit((Write("restore", (DeleteData(path),)),), ())

    async def retry_withheld(self) -> None:
        """Write what the engine refused when it was filled once more, for policies have changed.

        Raises:
            EngineAway: it does not answer.
            StateLostError: it has lost our state.
        """
        desired = self._view.desired
        refused = await self._write_documents(list(desired.withheld))
        desired.withheld = {path: str(error) for path, error in refused.items()}
        self._view.log = self._view.log.with_withheld(desired.withheld)
        await self._commit_state()

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
        """Remove what an earlier life left and this one, now synced, did not write again; then the agent is ready.

        What a backup brought is what an earlier life left, once this one is synced; until then it counts as written.
        """
        view = self._view
        if view.log.synced:
            # Data files of the policies stay: the policies are as new as the source's, and so are they.
            view.inherited.extend(disown(view.desired, keep=self._policies.desired.data_paths))
        if not view.inherited or not view.log.served:
            return
        gone = [path for path in view.inherited if view.desired.document(path) is None]
        changes: list[Change] = []
        for path in gone:
            if view.desired.holder(path) is None:
                changes.extend(await self._compiler.restore(path))
        refused: dict[DocumentPath, StoreRejectedError] = {}
        for piece in self._pieces(changes):
            await self._write_piece(piece, refused)
        view.desired.withheld = {**view.desired.withheld, **{path: str(error) for path, error in refused.items()}}
        # They are on the engine's list until the last of them is gone.
        await self._commit_state(releases=[path for path in gone if path not in refused])
        log.info("engine.earlier_life_removed", paths=len(gone))
        view.inherited = []
        view.log = view.log.with_withheld(view.desired.withheld).with_engine(current=True)
        await self._commit_state()

    # ------------------------------------------------------------------------------------------------------ how

    def _pieces(self, changes: Sequence[Change]) -> list[list[Change]]:
        traits = self._view.store.traits
        limit = 1 if traits.atomic == "change" else traits.max_changes or 500
        return chunks(changes, max_changes=limit, max_bytes=min(_CHUNK_BYTES, traits.max_bytes or _CHUNK_BYTES))

    def _state(self) -> list[Change]:
        return [change for _, change in self._panel.changes((), self._view.log)]

    def _log_after(self, writes: Mapping[DocumentPath, PutOffWrite]) -> TransactionLog:
        replaced = {path: why.replaced_by for path, why in writes.items() if why.replaced_by is not None}
        patched = {path: why.number for path, why in writes.items()}
        newest = max((why.number for why in writes.values()), default=0)
        log_now = self._view.log.with_withheld(self._view.desired.withheld)
        return log_now.with_restored(replaced, patched, newest=newest)

    async def _commit_state(self, *, releases: Sequence[DocumentPath] = ()) -> None:
        """Write the state alone; a listener whose part is refused is taken out of service."""
        while True:
            state = self._panel.changes((), self._view.log)
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

    async def _refusal_of(self, listener: str | None) -> StoreRejectedError | None:
        state = self._panel.changes((), self._view.log, only=listener)
        return (await self._commit((), [change for _, change in state])).refusal

    async def _commit(
        self, writes: tuple[Write, ...], state: Sequence[Change], *, releases: Sequence[DocumentPath] = ()
    ) -> CommitResult:
        if not (writes or state or releases or isinstance(self._view.store, SupportsMarker)):
            return CommitResult(())
        guard = self._view.guard()
        claims = tuple(change.path for write in writes for change in write.changes if isinstance(change, SetData))
        changes = Changes(writes, tuple(state), guard, claims, tuple(releases))
        return await self._sender.send(changes, by_value=True)
