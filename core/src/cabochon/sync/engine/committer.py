"""Group commit: one task that takes what is queued, writes it into the engine as one commit, and settles the outcome.

While a commit is in flight, updates queue; the next commit takes them all, so a slow engine costs latency and not
throughput. A refused commit is cut down until the guilty entry is found, the others land (`RefusedCommits`). An engine
that goes away or loses its state is handled by `EngineRecovery`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint

from cabochon.documents.path import ROOT
from cabochon.errors import StateLostError, StoreRejectedError
from cabochon.sync.bell import Bell
from cabochon.sync.desired.compiler import chunks, path_of
from cabochon.sync.engine.access import EngineAccess
from cabochon.sync.engine.announcements import Announcements
from cabochon.sync.engine.attempt import Attempt, Attempts, Group, ended_with, records_of
from cabochon.sync.engine.options import CommitOptions
from cabochon.sync.engine.recovery import EngineRecovery
from cabochon.sync.engine.refused_commits import RefusedCommits
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.engine.writes_in_doubt import WritesInDoubt
from cabochon.sync.outcome.instruments import Instruments
from cabochon.sync.outcome.refusals import Refusals
from cabochon.sync.rules.commit_parts import Part, alive_entries, cut, halved
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, EntryState, Update
from cabochon.transactions.changes import Write
from cabochon.transactions.log import TransactionLog

__all__ = ["Committer"]


class Committer:
    """The data lane: everything that writes data or state into the engine runs in its task."""

    def __init__(
        self,
        engine: EngineAccess,
        recovery: EngineRecovery,
        scheduler: Scheduler,
        *,
        options: CommitOptions,
        instruments: Instruments,
        announcements: Announcements,
    ) -> None:
        self._engine = engine
        self._view = engine.view
        self._log = engine.view.log
        self._recovery = recovery
        self._scheduler = scheduler
        self._options = options
        self._wall = instruments.wall
        self._announcements = announcements
        self._refusals = refusals = Refusals(instruments.metrics)
        self._attempts = Attempts(engine.view.desired, engine.compiler, engine.panel, self._log, refusals, self._wall)
        in_doubt = WritesInDoubt(engine.view, engine.values, refusals)
        self._refused = RefusedCommits(engine.view, engine.panel, engine.sender, refusals, in_doubt)
        self._policies_changed = False
        self._stopping = False
        self._bell = Bell()
        instruments.metrics.gauge("committer.queued", lambda: self._scheduler.queued)

    # ----------------------------------------------------------------------------------------------- from outside

    def notify(self) -> None:
        """Look at the queue."""
        self._bell.ring()

    def change_log(self, change: Callable[[TransactionLog], TransactionLog]) -> None:
        """Change the log with the next commit, which comes soon."""
        self._log.change_soon(change)
        self.notify()

    def policies_changed(self) -> None:
        """Write once more, soon, what the engine refused when it was filled."""
        self._policies_changed = True
        self.notify()

    @property
    def engine_away(self) -> bool:
        """Whether the engine does not answer, as far as is known."""
        return self._engine.contact.away

    def stop(self) -> None:
        """End after the current commit and one last one."""
        self._stopping = True
        self.notify()

    async def run(self) -> None:
        """Commit until `stop`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._engine.sender.watch)
            await self._run()
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        await self._recovery.first_contact()
        while not self._stopping:
            if self._engine.contact.away:
                await self._while_away()
            elif self._probe_is_due():
                await self._recovery.probe()
            elif self._policies_changed:
                self._policies_changed = False
                await self._recovery.restore_refused()
            elif self._scheduler.queued:
                await self._commit_queued()
                await checkpoint()
            elif self._log.wants_commit:
                await self._commit_all([Group([])])
            else:
                await self._idle()
        if self._scheduler.queued:
            await (self._put_off_queued() if self._engine.contact.away else self._commit_queued())

    # --------------------------------------------------------------------------------------------------- the loop

    def _probe_is_due(self) -> bool:
        """Tell whether to look at the engine though there is work: a commit looks for itself if there is a marker."""
        if self._view.ask.has_marker or not self._options.probe.enabled:
            return False
        return anyio.current_time() - self._engine.contact.looked_at >= self._options.probe.interval_s

    async def _idle(self) -> None:
        if await self._woken(within_s=self._options.probe.interval_s):
            return
        if self._options.probe.enabled and not await self._recovery.probe():
            return
        if (
            self._engine.panel.active
            and anyio.current_time() - self._engine.sender.state_written_at >= self._options.heartbeat_s
        ):
            self._log.write_again()

    async def _while_away(self) -> None:
        await self._woken(within_s=self._engine.contact.next_try_in_s())
        if self._scheduler.queued:
            await self._put_off_queued()
        if self._log.has_changes:
            self._log.put_off_changes()
        await self._recovery.try_again()

    async def _woken(self, *, within_s: float) -> bool:
        if self._scheduler.queued or self._log.has_changes or self._stopping:
            return True
        return await self._bell.answered(within_s=within_s)

    async def _put_off_queued(self) -> None:
        while self._scheduler.queued:
            await self._put_off([part for parts in cut(self._take(), self._view.store.traits) for part in parts])
            await checkpoint()

    async def _commit_queued(self) -> None:
        await self._commit_all([Group(parts) for parts in cut(self._take(), self._view.store.traits)])

    def _take(self) -> list[Update]:
        self._announcements.taken()
        return self._scheduler.take(
            max_updates=self._options.max_updates,
            max_bytes=min(self._options.max_bytes, self._view.store.traits.max_bytes or self._options.max_bytes),
        )

    # ------------------------------------------------------------------------------------------------- committing

    async def _commit_all(self, groups: Sequence[Group]) -> None:
        """Commit groups in order; afterwards every update in them has ended."""
        todo = deque(groups)
        while todo:
            group = todo.popleft()
            try:
                todo.extendleft(reversed(await self._commit(group)))
            except StateLostError:
                self._attempts.roll_back()
                todo.appendleft(Group(group.parts))
                if not await self._recovery.refill(noticed_by="commit"):
                    break
            except EngineAway as err:
                self._attempts.roll_back()
                self._engine.contact.lost(err)
                todo.appendleft(group)
                break
        if todo:
            await self._put_off([part for group in todo for part in group.parts])

    async def _commit(self, group: Group) -> list[Group]:
        """Commit one group and return the groups that it leaves to be done."""
        attempt = await self._attempts.begin(group)
        limit = self._view.store.traits.max_changes
        if limit is not None and attempt.weight > limit and group.with_listeners:
            attempt.roll_back()
            halves = halved(attempt.parts)
            return (
                [Group(half) for half in halves] if halves is not None else await self._commit_in_pieces(group, limit)
            )
        if attempt.writes or attempt.state or self._engine.earlier.may_be_left:
            writes = [one.write for one in attempt.writes]
            result = await self._engine.sender.write(writes, [change for _, change in attempt.state])
            if not result.landed:
                return await self._refused.what_is_left(attempt, result)
            self._land(attempt, result.version)
            await self._engine.compiler.fold_grown()
            await self._engine.earlier.finish()
        else:
            self._land(attempt)
        if not group.with_listeners:
            await self._refused.judge_listeners(attempt.records)
        return []

    async def _commit_in_pieces(self, group: Group, limit: int) -> list[Group]:
        """Write a single entry that makes more changes than an atomic commit holds; it can't land as a whole."""
        attempt = await self._attempts.begin(group)
        update = attempt.parts[-1].update
        pieces = chunks(attempt.changes, max_changes=limit, max_bytes=self._options.max_bytes)
        landed = True
        for number, piece in enumerate(pieces, start=1):
            state = [change for _, change in attempt.state] if number == len(pieces) else []
            result = await self._engine.sender.write([Write(update.id, tuple(piece))], state)
            landed = result.landed
            if not result.data_landed:
                attempt.roll_back()
                await self._engine.values.rewrite(
                    [path for change in attempt.changes if (path := path_of(change)) is not None]
                )
                for entry in alive_entries(attempt.parts):
                    self._refusals.refuse(entry, result.refusal or StoreRejectedError("the engine's answer was lost"))
                return [Group(attempt.parts)]
        self._land(attempt)
        if not landed:
            # The last piece, without the listeners' part.
            self._log.write_again()
        return []

    def _land(self, attempt: Attempt, version: str | None = None) -> None:
        attempt.land()
        self._log.landed(attempt.following)
        self._announcements.landed(attempt.ended, self._log.now, version)

    # ------------------------------------------------------------------------------------------ the engine is away

    async def _put_off(self, parts: Sequence[Part]) -> None:
        """Keep the writes in the desired state, and end their updates without success."""
        parts = [part for part in parts if not part.update.ended]
        for part in parts:
            for entry in part.entries:
                if entry.state is EntryState.READY:
                    await self._put_off_entry(entry)
        self._view.desired.settle()
        ended_at = self._wall()
        ended = ended_with(parts, ended_at)
        self._log.put_off(self._log.after(records_of(ended), ended_at))
        self._announcements.ended(ended, self._log.now)

    async def _put_off_entry(self, entry: Entry) -> None:
        put_off = self._view.put_off
        try:
            changes = await self._engine.compiler.compile(entry, put_off=put_off)
        except StoreRejectedError as err:
            self._refusals.refuse(entry, err)
            return
        paths = [path for change in changes if (path := path_of(change)) is not None]
        if not paths and self._view.desired.holder(entry.path) is None:
            # A patch that changes nothing, of nothing of ours: there is nothing to write once the engine is back.
            entry.save()
            return
        paths = paths or [entry.path]
        entry.put_off(self._engine.contact.why_away)
        for path in paths if entry.path else [ROOT, *paths]:
            put_off.add(path, entry.update.origin, replaced=entry.replaces)
