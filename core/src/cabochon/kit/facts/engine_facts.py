"""What the engine should hold of each fact, and where it is not known to."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Generic, TypeAlias, TypeVar

from cabochon.kit.facts.difference import Call, Difference

__all__ = ["EngineFacts", "Facts", "common"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

Facts: TypeAlias = Mapping[K, A]
"""Facts by what makes each the same to the engine; the value is what may change of it (a condition), else None."""


class _Nothing(Enum):
    NOTHING = auto()


_NOTHING: Final = _Nothing.NOTHING

_ABSENT: Final = (_NOTHING,)

_State: TypeAlias = "tuple[A | _Nothing, ...]"
"""What the engine may hold of a fact: one of these attributes, or nothing; a single member is certain."""


@dataclass(slots=True)
class EngineFacts(Generic[K, A]):
    """The facts of one engine, one by one; whose they are is the ledger's business.

    Where the engine does not hold what is owned, or may not, is in `_astray`, and nowhere else: a difference is looked
    up there, so it costs what it is large, and what an earlier try has written is not written again.

    Attributes:
        unowned: the facts that the engine held at first contact and that no path owns.
    """

    unowned: dict[K, A] = field(default_factory=dict[K, A])
    _held: dict[K, A] = field(default_factory=dict[K, A])
    _more_owners: dict[K, int] = field(default_factory=dict[K, int])
    _astray: dict[K, _State[A]] = field(default_factory=dict[K, "_State[A]"])
    _unowned_are_there: bool = True
    _all_in_doubt: bool = False

    # --------------------------------------------------------------------------------------------- what is owned

    def agrees(self, key: K, attribute: A) -> bool:
        """Tell whether a fact can be owned with this attribute: nobody owns it with another one."""
        return self._held.get(key, attribute) == attribute

    def take(self, key: K, attribute: A) -> None:
        """Let one more path own a fact; what is known of the engine stays."""
        if key in self._held:
            self._more_owners[key] = self._more_owners.get(key, 0) + 1
            return
        state = self._astray.pop(key, None) or self._at_rest(key)
        self._held[key] = attribute
        if state != (attribute,):
            self._astray[key] = state

    def let_go(self, key: K) -> None:
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

    def astray_among(self, facts: Mapping[K, object]) -> dict[K, None]:
        """Return those of the facts of which the engine has to be told something."""
        return common(self._astray, facts)

    def give_up_unowned(self) -> tuple[dict[K, A], list[K]]:
        """Want the facts of no path no more; return them, and those of which the engine has to be told."""
        unowned = self.unowned
        stray = [key for key in unowned if key not in self._held]
        with self._moving(stray):
            self.unowned = {}
        return unowned, stray

    def want_again(self, unowned: dict[K, A]) -> None:
        """Take back that the facts of no path were given up."""
        with self._moving([key for key in unowned if key not in self._held]):
            self.unowned = unowned

    def owners_found(self, keys: Iterable[K]) -> Facts[K, A]:
        """Take those of the facts that have an owner off those of no path, and return them."""
        if not self.unowned:
            return {}
        return {key: self.unowned.pop(key) for key in keys if key in self._held and key in self.unowned}

    def owners_lost(self, found_owners: Facts[K, A]) -> None:
        """Take back that these facts of no path have an owner."""
        with self._moving(found_owners):
            self.unowned |= found_owners

    # ------------------------------------------------------------------------------------------- what it is told

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
            self.unowned[key] = there
            self._know(key, (there,))
        return bool(news)

    def first_contact(self, found: Facts[K, A]) -> None:
        """Take note of everything that the engine held at first contact."""
        self.unowned = {key: attribute for key, attribute in found.items() if key not in self._held}
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
        if key in self.unowned:
            return (self.unowned[key],) if self._unowned_are_there else (self.unowned[key], _NOTHING)
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


def common(these: Mapping[K, object], those: Mapping[K, object]) -> dict[K, None]:
    """The keys that are in both, found by looking through the fewer."""
    fewer, more = (these, those) if len(these) < len(those) else (those, these)
    return {key: None for key in fewer if key in more}
