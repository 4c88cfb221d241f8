"""From a commit that has not landed as a whole to the groups that are left of it.

What is refused is cut down until the guilty entry, or listener, is found; what is innocent is tried again. Nothing
here commits data: the groups go back to the head of the committer's list.
"""

from __future__ import annotations

from collections.abc import Sequence

from cabochon.errors import StoreRejectedError
from cabochon.sync.engine.attempt import Attempt, Group
from cabochon.sync.engine.listeners import ListenerPanel, quarantine_guilty
from cabochon.sync.engine.sender import EngineSender
from cabochon.sync.engine.view import EngineView
from cabochon.sync.engine.writes_in_doubt import WriteInDoubt, WritesInDoubt
from cabochon.sync.outcome.refusals import Refusals
from cabochon.sync.rules.commit_parts import Part, alive_entries, halved
from cabochon.transactions.commit_result import STATE, Applied, CommitResult, Refused
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["RefusedCommits"]


class RefusedCommits:
    """Judges commits that have not landed as a whole."""

    def __init__(
        self,
        view: EngineView,
        panel: ListenerPanel,
        sender: EngineSender,
        refusals: Refusals,
        in_doubt: WritesInDoubt,
    ) -> None:
        self._view = view
        self._panel = panel
        self._sender = sender
        self._refusals = refusals
        self._in_doubt = in_doubt

    async def what_is_left(self, attempt: Attempt, result: CommitResult) -> list[Group]:
        """Roll an attempt back and return the groups that it leaves to be done, one at least.

        Raises:
            EngineAway: it does not answer.
            StateLostError: it has lost our state.
        """
        attempt.roll_back()
        if attempt.writes and (result.in_doubt or result.data_landed or self._view.store.traits.atomic != "commit"):
            return await self._sort_out(attempt, result)
        return await self._cut_down(attempt, result)

    async def _cut_down(self, attempt: Attempt, result: CommitResult) -> list[Group]:
        """Find who made the engine refuse a commit of which nothing landed."""
        error = result.refusal or StoreRejectedError("the engine refuses the commit")
        whole = Group(attempt.parts)
        blame = result.blame
        if blame is not None and blame.write == STATE and attempt.state:
            self._panel.quarantine(attempt.state[blame.change][0], error)
            return [whole]
        if blame is not None and blame.write >= 0:
            self._refusals.refuse(attempt.writes[blame.write].authors[blame.change], error)
            return [whole]
        halves = halved(attempt.parts)
        if halves is not None:
            return [Group(half) for half in halves]
        if attempt.state:
            return await self._without_listeners(attempt)
        for entry in alive_entries(attempt.parts):
            self._refusals.refuse(entry, error)
        return [whole]

    async def _without_listeners(self, attempt: Attempt) -> list[Group]:
        """An entry, or none, was refused together with the listeners' part: one of them is to blame."""
        if attempt.writes:
            # If it lands alone, the committer has the listeners judged.
            return [Group(attempt.parts, with_listeners=False)]
        await self._judge(attempt.records, attempt.following.log)
        return [Group(attempt.parts)]

    async def judge_listeners(self, records: Sequence[TransactionRecord]) -> None:
        """Find which listeners are to blame: their part was refused with what has landed without them."""
        await self._judge(records, None)

    async def _judge(self, records: Sequence[TransactionRecord], now: TransactionLog | None) -> None:
        async def refusal_of(listener: str | None) -> StoreRejectedError | None:
            changes = self._panel.changes(records, self._view.log.now if now is None else now, only=listener)
            return (await self._sender.write((), [change for _, change in changes])).refusal

        await quarantine_guilty(self._panel, refusal_of)
        self._view.log.write_again()

    async def _sort_out(self, attempt: Attempt, result: CommitResult) -> list[Group]:
        """Settle a commit of an engine that takes or refuses each transaction (or change) by itself."""
        desired = self._view.desired
        todo: list[list[Part]] = []
        in_doubt: list[WriteInDoubt] = []
        for one, outcome in zip(attempt.writes, result.outcomes, strict=True):
            part = one.part
            if type(outcome) is Refused:
                todo.extend(self._in_doubt.one_by_one(part, outcome.error))
                continue
            suspects = {entry: attempt.suspects[entry] for entry in part.entries if entry in attempt.suspects}
            if type(outcome) is Applied:
                self._in_doubt.save(one.authors, suspects)
            else:
                in_doubt.append(self._in_doubt.in_doubt(part, one.authors, suspects))
            for change in one.write.changes:
                desired.apply(change)
        desired.settle()
        todo.extend(await self._in_doubt.clear_up(in_doubt))
        self._view.log.write_again()
        # What is left of each part has no changes: it only ends its update, after the pieces of that update above.
        todo.append([Part(part.update, part.entries, last=part.last) for part in attempt.parts])
        return [Group(parts) for parts in todo]
