"""Writes that an engine may or may not have taken, and that can't tell: they are written again, by value."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cabochon.errors import StateLostError, StoreRejectedError
from cabochon.sync.desired.bringing_back import bringing_back
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.engine.value_writer import ValueWriter
from cabochon.sync.engine.view import EngineView
from cabochon.sync.outcome.refusals import Refusals
from cabochon.sync.rules.commit_parts import Part
from cabochon.sync.rules.update import Entry, EntryState
from cabochon.transactions.changes import Change

__all__ = ["WriteInDoubt", "WritesInDoubt"]


@dataclass(frozen=True, slots=True)
class WriteInDoubt:
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


class WritesInDoubt:
    """Settles them, one after the other."""

    def __init__(self, view: EngineView, values: ValueWriter, refusals: Refusals) -> None:
        self._view = view
        self._values = values
        self._refusals = refusals

    def in_doubt(
        self, part: Part, entries: Iterable[Entry], suspects: Mapping[Entry, StoreRejectedError]
    ) -> WriteInDoubt:
        """Return a write that is in doubt, before it is taken into the desired state."""
        alive = list(dict.fromkeys(entries))
        before = [change for entry in alive for change in bringing_back(self._view.desired, entry.path)]
        return WriteInDoubt(part, alive, before, suspects)

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

    async def clear_up(self, writes: Iterable[WriteInDoubt]) -> list[list[Part]]:
        """Write again, by value, what the engine may or may not have taken; return what is left to do.

        Raises:
            EngineAway: it does not answer.
            StateLostError: it has lost our state.
        """
        todo: list[list[Part]] = []
        waiting = deque(writes)
        try:
            while waiting:
                write = waiting[0]
                paths = [entry.path for entry in write.entries]
                refusal = await self._values.rewrite(paths)
                if refusal is None:
                    self.save(write.entries, write.suspects)
                else:
                    todo.extend(self.one_by_one(write.part, refusal))
                    self._bring_back(write)
                    await self._values.rewrite(paths)
                waiting.popleft()
        except (EngineAway, StateLostError):
            # What is not refused is to be written still: once more, or when the engine is back.
            for write in reversed(waiting):
                self._bring_back(write)
                for entry in write.entries:
                    self._view.put_off.add(entry.path, 0, replaced=False)
            self._view.desired.settle()
            raise
        return todo

    def _bring_back(self, write: WriteInDoubt) -> None:
        for change in write.before:
            self._view.desired.apply(change)
