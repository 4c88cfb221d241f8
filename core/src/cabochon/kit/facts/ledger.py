"""Which path owns which facts, and where the engine is not known to follow."""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Generic, TypeAlias, TypeVar

from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.errors import AnswerLostError, PathConflictError
from cabochon.kit.facts.difference import Call, Difference

__all__ = ["UNOWNED", "FactLedger", "Facts", "Staged"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

Facts: TypeAlias = Mapping[K, A]
"""Facts by what makes each the same to the engine; the value is what may change of it (a condition), else None."""

UNOWNED: Final = DocumentPath(("cabochon", "facts-of-no-path"))
"""Stands for the facts that the engine held at first contact and that no path owns; deleting it removes them."""


class _Nothing(Enum):
    NOTHING = auto()


_NOTHING: Final = _Nothing.NOTHING

_ABSENT: Final = (_NOTHING,)

_State: TypeAlias = "tuple[A | _Nothing, ...]"
"""What the engine may hold of a fact: one of these attributes, or nothing; a single member is certain."""


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
    """The facts of one engine; pure bookkeeping, which sends nothing.

    A write is staged, the difference that it makes is sent call by call, each noted with what became of it, and in the
    end the write is settled, undone, or left in doubt. Where the engine does not hold what is owned, or may not, is in
    `_astray`, and nowhere else: a difference is looked up there, so it costs what it is large, and what an earlier try
    has written is not written again.
    """

    _sets: dict[DocumentPath, _Owned[K, A]] = field(default_factory=dict[DocumentPath, "_Owned[K, A]"])
    _index: PathIndex[_Owned[K, A]] = field(default_factory=PathIndex["_Owned[K, A]"])
    _held: dict[K, A] = field(default_factory=dict[K, A])
    _more_owners: dict[K, int] = field(default_factory=dict[K, int])
    _in_doubt: dict[DocumentPath, Facts[K, A] | None] = field(default_factory=dict[DocumentPath, "Facts[K, A] | None"])
    _astray: dict[K, _State[A]] = field(default_factory=dict[K, "_State[A]"])
    _unowned: dict[K, A] = field(default_factory=dict[K, A])
    _unowned_are_there: bool = True
    _all_in_doubt: bool = False

    # ------------------------------------------------------------------------------------------------- ownership

    def facts_at(self, path: DocumentPath) -> Facts[K, A] | None:
        """Return the facts that `path` owns, None if nothing was written there."""
        owned = self._sets.get(path)
        return None if owned is None else owned.facts

    def paths(self) -> Collection[DocumentPath]:
        """Return the paths that own something, be it an empty set."""
        return self._sets.keys()

    @property
    def unowned(self) -> Facts[K, A]:
        """The facts that the engine held at first contact and that no path owns."""
        return self._unowned

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
            keys |= _common(self._astray, before[path] or {})
        if not prune:
            return Staged(keys, before)
        unowned = self._unowned
        stray = [key for key in unowned if key not in self._held]
        with self._moving(stray):
            self._unowned = {}
        return Staged(keys | dict.fromkeys(stray), before, unowned)

    def undo(self, staged: Staged[K, A]) -> Mapping[K, None] | None:
        """Take a staged write back; those that were staged later must have been undone before.

        A write that repeats one in doubt goes back to what was before that.

        Returns:
            The facts of which the engine may have to be told; None if the write stays, in doubt: it made room for
            another one, beside which what was before it can't be.
        """
        if staged.unowned is not None:
            with self._moving([key for key in staged.unowned if key not in self._held]):
                self._unowned = staged.unowned
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
        if not self._unowned:
            return {}
        return {key: self._unowned.pop(key) for key in staged.keys if key in self._held and key in self._unowned}

    def unsettle(self, staged: Staged[K, A], found_owners: Facts[K, A]) -> None:
        """Leave a settled write in doubt after all, for nobody has heard of it; those settled later come before."""
        with self._moving(found_owners):
            self._unowned |= found_owners
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
                    if facts and theirs and any(facts[key] != theirs[key] for key in _common(facts, theirs)):
                        msg = f"{path} and {doubted} do not agree about a fact, and {doubted} is in doubt"
                        raise AnswerLostError(msg)

    def _assign(self, after: Mapping[DocumentPath, Facts[K, A] | None]) -> dict[K, None]:
        """Let each path own its facts, and return those of which the engine may have to be told."""
        lost: list[tuple[K, A]] = []
        gained: list[tuple[K, A]] = []
        keys: dict[K, None] = {}
        for path, facts in after.items():
            old, new = self.facts_at(path) or {}, facts or {}
            lost += [(key, held) for key, held in old.items() if new.get(key, _NOTHING) != held]
            gained += [(key, wanted) for key, wanted in new.items() if old.get(key, _NOTHING) != wanted]
            if self._astray:
                keys |= _common(self._astray, old) | _common(self._astray, new)
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
        for key, _ in lost:
            self._let_go(key)
        held = self._held
        for number, (key, attribute) in enumerate(gained):
            if held.get(key, attribute) == attribute:
                self._take(key, attribute)
                continue
            for taken, _ in gained[:number]:
                self._let_go(taken)
            for given_up in lost:
                self._take(*given_up)
            raise self._conflict(key, attribute, after)

    def _take(self, key: K, attribute: A) -> None:
        """Let one more path own a fact; what is known of the engine stays."""
        if key in self._held:
            self._more_owners[key] = self._more_owners.get(key, 0) + 1
            return
        state = self._astray.pop(key, None) or self._at_rest(key)
        self._held[key] = attribute
        if state != (attribute,):
            self._astray[key] = state

    def _let_go(self, key: K) -> None:
        """Let one path less own a fact; what is known of the engine stays."""
        more = self._more_owners.get(key, 0)
        if not more:
            state = self._astray.pop(key, None) or (self._held[key],)
            del self._held[key]
            self._know(key, state)
        elif more == 1:
            del self._more_owners[key]
        else:
            self._more_owners[key] = more - 1

    def _conflict(self, key: K, attribute: A, after: Mapping[DocumentPath, Facts[K, A] | None]) -> PathConflictError:
        owners = {**{path: owned.facts for path, owned in self._sets.items()}, **after}
        named = [(path, facts[key]) for path, facts in owners.items() if facts is not None and key in facts]
        mine = next(path for path in after if (path, attribute) in named)
        other = next(path for path, held in named if held != attribute)
        msg = f"{mine} and {other} both own {key}, with different attributes: a fact has one"
        return PathConflictError(msg, path=str(mine))

    # ------------------------------------------------------------------------------------------------ the engine

    def difference(self, keys: Iterable[K]) -> Difference[K, A]:
        """Return what the engine must be told of these facts."""
        deletes: list[K] = []
        rewrites: dict[K, A] = {}
        writes: dict[K, A] = {}
        for key in keys:
            state = self._astray.get(key)
            if state is None:
                continue
            wanted = self._at_rest(key)[0]
            if wanted is _NOTHING:
                deletes.append(key)
            elif state is _ABSENT:
                writes[key] = wanted
            elif any(maybe is not _NOTHING and maybe != wanted for maybe in state):
                rewrites[key] = wanted
            else:
                writes[key] = wanted
        return Difference(deletes, rewrites, writes)

    def ghosts(self) -> Sequence[K]:
        """Return the facts which nobody owns any more, and which the engine may hold."""
        return [key for key in self._astray if key not in self._held]

    def sending(self, call: Call[K, A]) -> Mapping[K, _State[A]]:
        """Take note that a call is on its way: until it is known what became of it, both may be.

        Returns:
            What to give to `not_landed`.
        """
        before = {key: self._state(key) for key in (*call.deletes, *call.writes)}
        for key in call.deletes:
            self._astray[key] = _or(before[key], _NOTHING)
        for key, attribute in call.writes.items():
            self._astray[key] = _or(before[key], attribute)
        return before

    def landed(self, call: Call[K, A]) -> None:
        """Take note that the engine has done a call."""
        self._all_in_doubt = False
        for key in call.deletes:
            self._know(key, _ABSENT)
        for key, attribute in call.writes.items():
            self._know(key, (attribute,))

    def not_landed(self, before: Mapping[K, _State[A]]) -> None:
        """Take note that the engine has not done a call."""
        for key, state in before.items():
            self._know(key, state)

    def met(self, found: Facts[K, A]) -> bool:
        """Take note of facts that are in the engine by somebody else's doing; tell whether that is news."""
        news = {key: there for key, there in found.items() if key in self._held and self._state(key) != (there,)}
        for key, there in news.items():
            self._unowned[key] = there
            self._know(key, (there,))
        return bool(news)

    def adopt(self, found: Facts[K, A]) -> None:
        """Take note of everything that the engine held at first contact."""
        self._unowned = {key: attribute for key, attribute in found.items() if key not in self._held}
        self._unowned_are_there = True

    def put_all_in_doubt(self) -> None:
        """Take note that the engine may have lost any fact."""
        if self._all_in_doubt:
            return
        self._all_in_doubt = True
        for key in self._held:
            self._know(key, _or(self._state(key), _NOTHING))
        self._unowned_are_there = False

    def _state(self, key: K) -> _State[A]:
        return self._astray.get(key) or self._at_rest(key)

    def _at_rest(self, key: K) -> _State[A]:
        """Return how the engine holds a fact of which there is nothing to tell it."""
        if key in self._held:
            return (self._held[key],)
        if key in self._unowned:
            return (self._unowned[key],) if self._unowned_are_there else (self._unowned[key], _NOTHING)
        return _ABSENT

    def _know(self, key: K, state: _State[A]) -> None:
        if state == self._at_rest(key):
            self._astray.pop(key, None)
        else:
            self._astray[key] = state

    @contextmanager
    def _moving(self, keys: Iterable[K]) -> Generator[None]:
        """Keep what is known of the engine while it changes what it should hold of these facts."""
        states = {key: self._state(key) for key in keys}
        yield
        for key, state in states.items():
            self._know(key, state)


def _or(state: _State[A], other: A | _Nothing) -> _State[A]:
    return state if other in state else (*state, other)


def _common(these: Mapping[K, object], those: Mapping[K, object]) -> dict[K, None]:
    """The keys that are in both, found by looking through the fewer."""
    fewer, more = (these, those) if len(these) < len(those) else (those, these)
    return {key: None for key in fewer if key in more}
