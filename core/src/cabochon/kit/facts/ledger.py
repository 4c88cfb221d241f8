"""Which path owns which facts."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.errors import AnswerLostError, PathConflictError
from cabochon.kit.facts.engine_facts import EngineFacts, Facts, common

__all__ = ["UNOWNED", "FactLedger", "Staged"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

UNOWNED: Final = DocumentPath(("cabochon", "facts-of-no-path"))
"""Stands for the facts that the engine held at first contact and that no path owns; deleting it removes them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Owned(Generic[K, A]):
    path: DocumentPath
    facts: Facts[K, A]


@dataclass(frozen=True, slots=True)
class Staged(Generic[K, A]):
    """A write that the ledger has taken note of.

    Attributes:
        keys: the facts of which the engine may have to be told, in order.
        before: what each path concerned owned, None for nothing.
        unowned: the facts of no path that were given up with it.
    """

    keys: Mapping[K, None]
    before: Mapping[DocumentPath, Facts[K, A] | None]
    unowned: dict[K, A] | None = None


@dataclass(slots=True)
class FactLedger(Generic[K, A]):
    """Which path owns which facts; pure bookkeeping, which sends nothing.

    A write is staged, the difference that it makes is sent call by call, each noted in `engine` with what became of it,
    and in the end the write is settled, undone, or left in doubt.

    Attributes:
        engine: what the engine should hold of each fact, and where it is not known to.
    """

    engine: EngineFacts[K, A] = field(default_factory=EngineFacts[K, A])

    _sets: dict[DocumentPath, _Owned[K, A]] = field(default_factory=dict[DocumentPath, "_Owned[K, A]"])
    _index: PathIndex[_Owned[K, A]] = field(default_factory=PathIndex["_Owned[K, A]"])
    _in_doubt: dict[DocumentPath, Facts[K, A] | None] = field(default_factory=dict[DocumentPath, "Facts[K, A] | None"])

    def facts_at(self, path: DocumentPath) -> Facts[K, A] | None:
        """Return the facts that `path` owns, None if nothing was written there."""
        owned = self._sets.get(path)
        return None if owned is None else owned.facts

    def paths(self) -> Collection[DocumentPath]:
        """Return the paths that own something, be it an empty set."""
        return self._sets.keys()

    def stage(self, changes: Iterable[tuple[DocumentPath, Facts[K, A] | None]]) -> Staged[K, A]:
        """Take note of one write: each path owns these facts (None: none at all) and the paths below it none.

        It is judged as a whole: what the changes leave behind counts, not the steps to it.

        Raises:
            PathConflictError: two paths would own one fact with different attributes; the ledger is as before.
            AnswerLostError: that depends on another write which is in doubt; the ledger is as before.
        """
        after, prune = self._after(changes)
        self._await_those_in_doubt(after)
        before = {path: self._in_doubt.get(path, self.facts_at(path)) for path in after}
        keys = self._assign(after)
        for path in after.keys() & self._in_doubt.keys():
            keys |= self.engine.astray_among(before[path] or {})
        if not prune:
            return Staged(keys, before)
        unowned, stray = self.engine.give_up_unowned()
        return Staged(keys | dict.fromkeys(stray), before, unowned)

    def undo(self, staged: Staged[K, A]) -> Mapping[K, None] | None:
        """Take a staged write back; those that were staged later must have been undone before.

        A write that repeats one in doubt goes back to what was before that.

        Returns:
            The facts of which the engine may have to be told; None if the write stays, in doubt: it made room for
            another one, beside which what was before it can't be.
        """
        if staged.unowned is not None:
            self.engine.want_again(staged.unowned)
        try:
            keys = self._assign(staged.before)
        except PathConflictError:
            self.leave_in_doubt(staged)
            return None
        self._make_sure_of(staged)
        return {**keys, **staged.keys}

    def settle(self, staged: Staged[K, A]) -> Facts[K, A]:
        """Take note that a staged write is in force.

        Returns:
            The facts of no path that have an owner now, for `unsettle`.
        """
        self._make_sure_of(staged)
        return self.engine.owners_found(staged.keys)

    def unsettle(self, staged: Staged[K, A], found_owners: Facts[K, A]) -> None:
        """Leave a settled write in doubt after all, for nobody has heard of it; those settled later come before."""
        self.engine.owners_lost(found_owners)
        self._in_doubt.update(staged.before)

    def leave_in_doubt(self, staged: Staged[K, A]) -> None:
        """Take note that a staged write may be in force or not: it will be written again, or what was before it."""
        for path, facts in staged.before.items():
            self._in_doubt.setdefault(path, facts)

    def _make_sure_of(self, staged: Staged[K, A]) -> None:
        for path in staged.before:
            self._in_doubt.pop(path, None)

    def _after(
        self, changes: Iterable[tuple[DocumentPath, Facts[K, A] | None]]
    ) -> tuple[dict[DocumentPath, Facts[K, A] | None], bool]:
        """Work out what each path that is concerned owns in the end, and whether the facts of no path go."""
        after: dict[DocumentPath, Facts[K, A] | None] = {}
        planned: PathIndex[DocumentPath] = PathIndex()
        prune = False
        for path, facts in changes:
            if path == UNOWNED:
                prune = True
                continue
            after.update(dict.fromkeys(planned.covered_by(path)))
            after.update((owned.path, None) for owned in self._index.covered_by(path))
            after.update((doubted, None) for doubted in self._in_doubt if path.covers(doubted))
            if path not in after:
                # What is owned already is found in the index.
                planned.add(path, path)
            after[path] = facts
        return after, prune

    def _await_those_in_doubt(self, after: Mapping[DocumentPath, Facts[K, A] | None]) -> None:
        """Put a write off that would own a fact otherwise than a path which is in doubt does now, or did before."""
        for doubted, before in self._in_doubt.items():
            if doubted in after:
                continue
            for path, facts in after.items():
                for theirs in (before, self.facts_at(doubted)):
                    if facts and theirs and any(facts[key] != theirs[key] for key in common(facts, theirs)):
                        msg = f"{path} and {doubted} do not agree about a fact, and {doubted} is in doubt"
                        raise AnswerLostError(msg)

    def _assign(self, after: Mapping[DocumentPath, Facts[K, A] | None]) -> dict[K, None]:
        """Let each path own its facts, and return those of which the engine may have to be told."""
        lost: list[tuple[K, A]] = []
        gained: list[tuple[K, A]] = []
        keys: dict[K, None] = {}
        for path, facts in after.items():
            old, new = self.facts_at(path) or {}, facts or {}
            lost += [(key, held) for key, held in old.items() if key not in new or new[key] != held]
            gained += [(key, wanted) for key, wanted in new.items() if key not in old or old[key] != wanted]
            keys |= self.engine.astray_among(old) | self.engine.astray_among(new)
        self._exchange(lost, gained, after)
        keys |= dict.fromkeys(key for key, _ in lost)
        keys |= dict.fromkeys(key for key, _ in gained)
        for path, facts in after.items():
            known = self._sets.pop(path, None)
            if known is not None:
                self._index.discard(path, known)
            if facts is not None:
                self._sets[path] = owned = _Owned(path, facts)
                self._index.add(path, owned)
        return keys

    def _exchange(
        self,
        lost: Sequence[tuple[K, A]],
        gained: Sequence[tuple[K, A]],
        after: Mapping[DocumentPath, Facts[K, A] | None],
    ) -> None:
        engine = self.engine
        for key, _ in lost:
            engine.let_go(key)
        for number, (key, attribute) in enumerate(gained):
            if engine.agrees(key, attribute):
                engine.take(key, attribute)
                continue
            for taken, _ in gained[:number]:
                engine.let_go(taken)
            for given_up in lost:
                engine.take(*given_up)
            raise self._conflict(key, attribute, after)

    def _conflict(self, key: K, attribute: A, after: Mapping[DocumentPath, Facts[K, A] | None]) -> PathConflictError:
        owners = {**{path: owned.facts for path, owned in self._sets.items()}, **after}
        named = [(path, facts[key]) for path, facts in owners.items() if facts is not None and key in facts]
        mine = next(path for path in after if (path, attribute) in named)
        other = next(path for path, held in named if held != attribute)
        msg = f"{mine} and {other} both own {key}, with different attributes: a fact has one"
        return PathConflictError(msg, path=str(mine))
