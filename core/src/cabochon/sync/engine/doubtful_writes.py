"""Writes that an engine may or may not have taken, and that can't tell: they are written again, by value."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cabochon.errors import StateLostError, StoreRejectedError
from cabochon.sync.engine.recovery import EngineRecovery
from cabochon.sync.engine.refusals import Refusals
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.engine.view import EngineView
from cabochon.sync.rules.commit_parts import Part
from cabochon.sync.rules.update import Entry, EntryState
from cabochon.transactions.changes import Change

__all__ = ["Doubt", "DoubtfulWrites"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A write that may or may not be in the engine.

    Attributes:
        part: what was written.
        entries: those of `part` that it is made of.
        before: the changes that bring back what was at their paths.
        suspects: entries of `part` that do not apply to what the others make of it.
    """

    part: Part
    entries: Sequence[Entry]
    before: Sequence[Change]
    suspects: Mapping[Entry, StoreRejectedError]


class DoubtfulWrites:
    """Settles them, one after the other."""

    def __init__(self, view: EngineView, recovery: EngineRecovery, refusals: Refusals) -> None:
        self._view = view
        self._recovery = recovery
        self._refusals = refusals

    def doubt(self, part: Part, entries: Iterable[Entry], suspects: Mapping[Entry, StoreRejectedError]) -> Doubt:
        """Return the doubt of a write, before it is taken into the desired state."""
        alive = list(dict.fromkeys(entries))
        before = [change for entry in alive for change in self._view.desired.bringing_back(entry.path)]
        return Doubt(part, alive, before, suspects)

    def save(self, entries: Iterable[Entry], suspects: Mapping[Entry, StoreRejectedError]) -> None:
        """Take note that a write is in force."""
        for entry, error in suspects.items():
            self._refusals.refuse(entry, error)
        for entry in entries:
            entry.save()

    def one_by_one(self, part: Part, error: StoreRejectedError) -> list[list[Part]]:
        """Find out which entry of a refused write is to blame: return each as a group of its own, if there are more."""
        alive = [entry for entry in part.entries if entry.state is EntryState.READY]
        if len(alive) > 1:
            return [[Part(part.update, [entry], last=False)] for entry in alive]
        self._refusals.refuse(alive[0], error)
        return []

    async def clear_up(self, doubts: Iterable[Doubt]) -> list[list[Part]]:
        """Write again, by value, what the engine may or may not have taken; return what is left to do.

        Raises:
            EngineAway: it does not answer.
            StateLostError: it has lost our state.
        """
        todo: list[list[Part]] = []
        unsettled = deque(doubts)
        try:
            while unsettled:
                doubt = unsettled[0]
                paths = [entry.path for entry in doubt.entries]
                refusal = await self._recovery.rewrite(paths)
                if refusal is None:
                    self.save(doubt.entries, doubt.suspects)
                else:
                    todo.extend(self.one_by_one(doubt.part, refusal))
                    self._bring_back(doubt)
                    await self._recovery.rewrite(paths)
                unsettled.popleft()
        except (EngineAway, StateLostError):
            # What is not refused is to be written still: once more, or when the engine is back.
            for doubt in reversed(unsettled):
                self._bring_back(doubt)
                for entry in doubt.entries:
                    self._view.put_off.add(entry.path, 0, replaced=False)
            self._view.desired.settle()
            raise
        return todo

    def _bring_back(self, doubt: Doubt) -> None:
        for change in doubt.before:
            self._view.desired.apply(change)
