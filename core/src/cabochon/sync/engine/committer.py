"""Group commit: one task that takes what is queued, writes it into the engine as one commit, and settles the outcome.

While a commit is in flight, updates queue; the next commit takes them all, so a slow engine costs latency and not
throughput. A refused commit is cut down until the guilty entry is found, the others land. An engine that goes away or
loses its state is handled by `EngineRecovery`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
import structlog
from anyio.lowlevel import checkpoint

from cabochon.contract.metrics import Metrics
from cabochon.contract.powers import SupportsMarker
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import StateLostError, StoreRejectedError
from cabochon.sync.bell import Bell
from cabochon.sync.desired.compiler import chunks, path_of, weight_of
from cabochon.sync.engine.doubtful_writes import Doubt, DoubtfulWrites
from cabochon.sync.engine.listeners import quarantine_guilty
from cabochon.sync.engine.recovery import EngineAccess, EngineRecovery
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.outcome.traces import Traces
from cabochon.sync.rules.commit_parts import Part, alive_entries, cut, halved
from cabochon.sync.rules.records import record_of
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update
from cabochon.transactions.changes import Change, Changes, Write
from cabochon.transactions.commit_result import STATE, Applied, CommitResult, Refused
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["CommitLimits", "Committer"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitLimits:
    """How much and how long.

    Attributes:
        max_updates: updates in one group.
        max_bytes: bytes of raw JSON in one group, unless the store takes less.
        probe: whether to look at an idle engine; if not, its loss is noticed by the next commit.
        probe_interval_s: seconds between two looks at an idle engine.
        heartbeat_s: seconds after which the state is written again though nothing happened.
    """

    max_updates: int = 500
    max_bytes: int = 16_000_000
    probe: bool = True
    probe_interval_s: float = 1.0
    heartbeat_s: float = 10.0


@dataclass(slots=True)
class _Group:
    """Parts compiled into one commit; `authors[w][c]` is the entry of `writes[w].changes[c]`."""

    parts: list[Part]
    writes: list[Write]
    written: list[Part]
    authors: list[list[Entry]]
    records: list[TransactionRecord]
    now: TransactionLog
    log_changes: int
    state: list[tuple[str, Change]]


class Committer:
    """The data lane: everything that writes data or state into the engine runs in its task."""

    def __init__(
        self,
        engine: EngineAccess,
        recovery: EngineRecovery,
        scheduler: Scheduler,
        *,
        limits: CommitLimits,
        metrics: Metrics,
        wall: Callable[[], float],
        on_end: Callable[[Update, TransactionRecord | None], None],
        traces: Traces,
    ) -> None:
        self._view = engine.view
        self._panel = engine.panel
        self._compiler = engine.compiler
        self._sender = engine.sender
        self._recovery = recovery
        self._scheduler = scheduler
        self._limits = limits
        self._metrics = metrics
        self._wall = wall
        self._on_end = on_end
        self._traces = traces
        self._traits = engine.view.store.traits
        self._doubtful = DoubtfulWrites(engine.view, recovery, self._refuse)
        self._log_changes: list[Callable[[TransactionLog], TransactionLog]] = []
        self._suspects: list[tuple[Entry, StoreRejectedError]] = []
        self._stale = False
        self._policies_changed = False
        self._stopping = False
        self._bell = Bell()
        self._written_at = 0.0
        self._taken_at = 0.0
        metrics.gauge("committer.queued", lambda: self._scheduler.queued)

    # ----------------------------------------------------------------------------------------------- from outside

    def notify(self) -> None:
        """Look at the queue."""
        self._bell.ring()

    def change_log(self, change: Callable[[TransactionLog], TransactionLog]) -> None:
        """Change the log with the next commit, which comes soon."""
        self._log_changes.append(change)
        self.notify()

    def policies_changed(self) -> None:
        """Write once more, soon, what the engine refused when it was filled."""
        self._policies_changed = True
        self.notify()

    @property
    def engine_away(self) -> bool:
        """Whether the engine does not answer, as far as is known."""
        return self._recovery.away

    def stop(self) -> None:
        """End after the current commit and one last one."""
        self._stopping = True
        self.notify()

    async def run(self) -> None:
        """Commit until `stop`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sender.watch)
            await self._run()
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        await self._recovery.first_contact()
        while not self._stopping:
            if self._recovery.away:
                await self._while_away()
            elif self._probe_is_due():
                await self._recovery.probe()
            elif self._policies_changed:
                await self._retry_withheld()
            elif self._scheduler.queued:
                await self._commit_queued()
                await checkpoint()
            elif self._log_changes or self._stale:
                await self._commit_all([[]])
            else:
                await self._idle()
        if self._scheduler.queued:
            await (self._defer_queued() if self._recovery.away else self._commit_queued())

    # --------------------------------------------------------------------------------------------------- the loop

    def _probe_is_due(self) -> bool:
        """Tell whether to look at the engine though there is work: a commit looks for itself if there is a marker."""
        if isinstance(self._view.store, SupportsMarker) or not self._limits.probe:
            return False
        return anyio.current_time() - self._recovery.probed_at >= self._limits.probe_interval_s

    async def _idle(self) -> None:
        if await self._woken(within_s=self._limits.probe_interval_s):
            return
        if self._limits.probe and not await self._recovery.probe():
            return
        if self._panel.active and anyio.current_time() - self._written_at >= self._limits.heartbeat_s:
            self._stale = True

    async def _while_away(self) -> None:
        await self._woken(within_s=self._recovery.next_try_in_s())
        if self._scheduler.queued:
            await self._defer_queued()
        if self._log_changes:
            # The log is written when the engine is back.
            self._view.log = self._log_now()
            self._log_changes.clear()
        await self._recovery.try_again()

    async def _retry_withheld(self) -> None:
        self._policies_changed = False
        if not self._view.desired.withheld:
            return
        try:
            await self._recovery.retry_withheld()
        except StateLostError:
            await self._recovery.refill(noticed_by="commit")
        except EngineAway as err:
            self._recovery.lost_contact(err)

    async def _woken(self, *, within_s: float) -> bool:
        if self._scheduler.queued or self._log_changes or self._stopping:
            return True
        return await self._bell.answered(within_s=within_s)

    async def _defer_queued(self) -> None:
        while self._scheduler.queued:
            await self._defer([part for parts in cut(self._take(), self._traits) for part in parts])
            await checkpoint()

    async def _commit_queued(self) -> None:
        await self._commit_all(cut(self._take(), self._traits))

    def _take(self) -> list[Update]:
        self._taken_at = self._wall()
        return self._scheduler.take(
            max_updates=self._limits.max_updates,
            max_bytes=min(self._limits.max_bytes, self._traits.max_bytes or self._limits.max_bytes),
        )

    # ------------------------------------------------------------------------------------------------- committing

    async def _commit_all(self, groups: Sequence[list[Part]]) -> None:
        """Commit groups in order; afterwards every update in them has ended."""
        todo = deque(groups)
        while todo:
            group = todo.popleft()
            try:
                todo.extendleft(reversed(await self._commit(group)))
            except StateLostError:
                self._roll_back()
                todo.appendleft(group)
                if not await self._recovery.refill(noticed_by="commit"):
                    break
            except EngineAway as err:
                self._roll_back()
                self._recovery.lost_contact(err)
                todo.appendleft(group)
                break
        if todo:
            await self._defer([part for group in todo for part in group])

    async def _commit(self, parts: list[Part], *, with_state: bool = True) -> list[list[Part]]:
        """Commit one group and return the groups that it leaves to be done."""
        parts = [part for part in parts if not part.update.ended]
        group = await self._compile(parts, with_state=with_state)
        total = sum(weight_of(change) for write in group.writes for change in write.changes)
        limit = self._traits.max_changes
        if limit is not None and total > limit and with_state:
            self._roll_back()
            halves = halved(parts)
            return halves if halves is not None else await self._commit_in_chunks(parts, limit)
        if not group.writes and not group.state and not (self._view.inherited or self._view.brought):
            self._land(group)
            return []
        result = await self._send(group.writes, [change for _, change in group.state])
        if result.landed:
            self._land(group, result.version)
            await self._compiler.fold_grown()
            await self._recovery.finish_life()
            return []
        suspects = dict(self._suspects)
        self._roll_back()
        if group.writes and (result.doubtful or result.data_landed or self._traits.atomic != "commit"):
            return await self._sort_out(group, result, suspects)
        return await self._cut_down(group, result, with_state=with_state)

    async def _send(self, writes: Sequence[Write], state: Sequence[Change]) -> CommitResult:
        guard = self._view.guard()
        desired = self._view.desired
        changes = Changes(tuple(writes), tuple(state), guard, desired.claims, desired.releases)
        result = await self._sender.send(changes, by_value=not writes)
        if type(result.state) is Applied:
            self._written_at = anyio.current_time()
        return result

    async def _compile(self, parts: list[Part], *, with_state: bool) -> _Group:
        writes: list[Write] = []
        written: list[Part] = []
        authors: list[list[Entry]] = []
        for part in parts:
            changes: list[Change] = []
            by: list[Entry] = []
            for entry in part.entries:
                if entry.state is not EntryState.READY:
                    continue
                try:
                    compiled = await self._compiler.compile(entry)
                except StoreRejectedError as err:
                    if self._view.desired.pending:
                        # Judged by writes that the engine has not taken yet: it counts once they have landed.
                        self._suspects.append((entry, err))
                        entry.refuse(err)
                    else:
                        self._refuse(entry, err)
                    continue
                changes.extend(compiled)
                by.extend([entry] * len(compiled))
            if changes:
                writes.append(Write(part.update.id, tuple(changes)))
                written.append(part)
                authors.append(by)
        ended_at = self._wall()
        records = [record for part in parts if part.last and (record := record_of(part.update, ended_at)) is not None]
        log_changes = len(self._log_changes)
        now = self._log_now().after(records).with_heartbeat(ended_at)
        state = self._panel.changes(records, now) if with_state else []
        return _Group(parts, writes, written, authors, records, now, log_changes, state)

    def _log_now(self) -> TransactionLog:
        now = self._view.log.with_withheld(self._view.desired.withheld)
        for change in self._log_changes:
            now = change(now)
        return now

    def _roll_back(self) -> None:
        """Take note that nothing of a group is in force."""
        self._view.desired.rollback()
        for entry, _ in self._suspects:
            entry.acquit()
        self._suspects.clear()

    def _land(self, group: _Group, version: str | None = None) -> None:
        """Take note that a whole group is in force."""
        for entry, error in self._suspects:
            entry.acquit()
            self._refuse(entry, error)
        self._suspects.clear()
        self._view.desired.settle()
        self._view.log = group.now
        # Those that came while the commit was in flight are for the next one.
        del self._log_changes[: group.log_changes]
        self._stale = False
        self._metrics.count("commits")
        for part in group.parts:
            for entry in part.entries:
                if entry.state is EntryState.READY:
                    entry.save()
        self._end(group.parts, group.records, version)

    def _end(self, parts: Sequence[Part], records: Sequence[TransactionRecord], version: str | None = None) -> None:
        self._panel.ended(records, self._view.log)
        remaining = iter(records)
        traced = self._traces.wanted
        for part in parts:
            if part.last:
                update = part.update
                update.ended = True
                record = next(remaining) if update.kind is not Kind.POLICY_DATA else None
                self._scheduler.ended(update)
                if traced and record is not None and update.kind is not Kind.RECORD:
                    self._traces.update_ended(update, record.error, taken_at=self._taken_at, group_size=len(records))
                self._on_end(update, record)
        if version is not None:
            log.debug("commit.landed", version=version)

    def _refuse(self, entry: Entry, error: StoreRejectedError) -> None:
        entry.refuse(error)
        self._metrics.count("writes.refused")
        log.warning(
            "data_update.refused",
            update_id=entry.update.id,
            dst_path=str(entry.path),
            error=str(error),
        )

    # ------------------------------------------------------------------------------------------------ refused ones

    async def _cut_down(self, group: _Group, result: CommitResult, *, with_state: bool) -> list[list[Part]]:
        """Find who made the engine refuse a commit of which nothing landed."""
        error = result.refusal or StoreRejectedError("the engine refuses the commit")
        blame = result.blame
        if blame is not None and blame.write == STATE and group.state:
            self._panel.quarantine(group.state[blame.change][0], error)
            return [group.parts]
        if blame is not None and blame.write >= 0:
            self._refuse(group.authors[blame.write][blame.change], error)
            return [group.parts]
        halves = halved(group.parts)
        if halves is not None:
            return halves
        if with_state and group.state:
            return await self._without_listeners(group)
        for entry in alive_entries(group.parts):
            self._refuse(entry, error)
        return [group.parts]

    async def _without_listeners(self, group: _Group) -> list[list[Part]]:
        """A single entry was refused together with the listeners' changes: find out which of them is to blame."""
        if group.writes:
            left = await self._commit(group.parts, with_state=False)
            if left:
                return left

        async def refusal_of(listener: str | None) -> StoreRejectedError | None:
            now = self._view.log if group.writes else group.now
            changes = self._panel.changes(group.records, now, only=listener)
            return (await self._send((), [change for _, change in changes])).refusal

        await quarantine_guilty(self._panel, refusal_of)
        self._stale = True
        return [] if group.writes else [group.parts]

    async def _commit_in_chunks(self, parts: list[Part], limit: int) -> list[list[Part]]:
        """Write a single entry that makes more changes than an atomic commit holds; it can't land as a whole."""
        group = await self._compile(parts, with_state=True)
        changes = [change for write in group.writes for change in write.changes]
        update = parts[-1].update
        pieces = chunks(changes, max_changes=limit, max_bytes=self._limits.max_bytes)
        landed = True
        for number, piece in enumerate(pieces, start=1):
            state = [change for _, change in group.state] if number == len(pieces) else []
            result = await self._send([Write(update.id, tuple(piece))], state)
            landed = result.landed
            if not result.data_landed:
                self._roll_back()
                await self._recovery.rewrite([path for change in changes if (path := path_of(change)) is not None])
                for entry in alive_entries(parts):
                    self._refuse(entry, result.refusal or StoreRejectedError("the engine's answer was lost"))
                return [parts]
        self._land(group)
        # The last piece may have landed without the listeners' part.
        self._stale = not landed
        return []

    async def _sort_out(
        self, group: _Group, result: CommitResult, suspects: Mapping[Entry, StoreRejectedError]
    ) -> list[list[Part]]:
        """Settle a commit of an engine that takes or refuses each transaction (or change) by itself."""
        desired = self._view.desired
        todo: list[list[Part]] = []
        doubtful: list[Doubt] = []
        for index, (write, part, outcome) in enumerate(zip(group.writes, group.written, result.outcomes, strict=True)):
            if type(outcome) is Refused:
                todo.extend(self._doubtful.one_by_one(part, outcome.error))
                continue
            suspected = {entry: suspects[entry] for entry in part.entries if entry in suspects}
            if type(outcome) is Applied:
                self._doubtful.save(group.authors[index], suspected)
            else:
                doubtful.append(self._doubtful.doubt(part, group.authors[index], suspected))
            for change in write.changes:
                desired.apply(change)
        desired.settle()
        todo.extend(await self._doubtful.clear_up(doubtful))
        # What is left of each part has no changes: it only ends its update, after the pieces of that update above.
        self._stale = True
        return [*todo, [Part(part.update, part.entries, last=part.last) for part in group.parts]]

    async def _defer(self, parts: Sequence[Part]) -> None:
        """The engine is away: keep the writes in the desired state and end their updates without success."""
        parts = [part for part in parts if not part.update.ended]
        for part in parts:
            for entry in part.entries:
                if entry.state is EntryState.READY:
                    await self._defer_entry(entry)
        self._view.desired.settle()
        ended_at = self._wall()
        ending = [part for part in parts if part.last]
        records = [record for part in ending if (record := record_of(part.update, ended_at)) is not None]
        self._view.log = self._log_now().after(records).with_heartbeat(ended_at)
        self._log_changes.clear()
        self._end(ending, records)

    async def _defer_entry(self, entry: Entry) -> None:
        try:
            changes = await self._compiler.compile(entry, put_off=self._view.put_off)
        except StoreRejectedError as err:
            self._refuse(entry, err)
            return
        paths = [path for change in changes if (path := path_of(change)) is not None]
        if not paths and self._view.desired.holder(entry.path) is None:
            # A patch that changes nothing, of nothing of ours: there is nothing to write once the engine is back.
            entry.save()
            return
        self._put_off(entry, paths or [entry.path], self._recovery.why_away)

    def _put_off(self, entry: Entry, paths: Sequence[DocumentPath], error: Exception) -> None:
        entry.put_off(error)
        for path in paths if entry.path else [ROOT, *paths]:
            self._view.put_off.add(path, entry.update.origin, replaced=entry.replaces)
