"""The base for stores of facts against a naive model: an engine that refuses, fails, hangs and loses answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import anyio
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from cabochon.contract.policy_store import StoreTraits
from cabochon.documents.json_values import encode
from cabochon.documents.path import DocumentPath
from cabochon.errors import AnswerLostError, HeldOtherwiseError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.facts import UNOWNED, Call, Facts, FactSetStore, Prune, facts_of
from cabochon.transactions.changes import Changes, DeleteData, SetData, Write
from cabochon.transactions.commit_result import Applied, Refused, Unknown

from .virtual import BrokenPromiseError, run

Owned: TypeAlias = dict[DocumentPath, dict[str, int]]
"""A path's facts, each with its attribute."""

DataChange: TypeAlias = SetData | DeleteData

Verdict: TypeAlias = Literal["ok", "refuse", "away", "lost, landed", "lost", "hangs, landed", "hangs"]

BANNED = "banned"
_TRIES = 50
"""More than there are calls that fail."""

_PATHS = [DocumentPath.parse(path) for path in ("/a", "/a/x", "/a/x/y", "/a2", "/b")]
_NOWHERE = DocumentPath(("nowhere",))
_FACTS = ["f0", "f1", "f2", "f3", "f4", "f5"]
_values = st.dictionaries(st.sampled_from([*_FACTS, *_FACTS, BANNED]), st.sampled_from([0, 0, 0, 1, 2]), max_size=6)


@dataclass
class Engine:
    """Facts with an attribute each; one call in `most` facts, all or nothing, with the verdict that is next."""

    most: int
    overwrites: bool
    facts: dict[str, int] = field(default_factory=dict[str, int])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    named: int = 0

    async def write(self, call: Call[str, int]) -> None:
        if len(call) > self.most or not call or set(call.deletes) & set(call.writes):
            raise BrokenPromiseError(f"{call} is no call for {self.most} facts")
        await anyio.sleep(0.01)
        verdict = self.verdicts.pop(0) if self.verdicts else "ok"
        if verdict == "away":
            raise StoreUnavailableError("away")
        if verdict == "refuse" or BANNED in call.writes:
            raise StoreRejectedError("refused")
        clashes = {key: self.facts[key] for key, new in call.writes.items() if self.facts.get(key, new) != new}
        if clashes and not self.overwrites:
            raise HeldOtherwiseError("held otherwise", found=clashes)
        self.named += len(call)
        if verdict not in {"lost", "hangs"}:
            for key in call.deletes:
                self.facts.pop(key, None)
            self.facts |= call.writes
        if verdict.startswith("lost"):
            raise AnswerLostError("lost")
        if verdict.startswith("hangs"):
            await anyio.sleep_forever()


class Store(FactSetStore[str, int]):
    """Writes an object of facts and their attributes."""

    traits: ClassVar[StoreTraits] = StoreTraits(policy_unit="none", data_unit="facts", atomic="write")

    def __init__(self, engine: Engine, *, prune: Prune = "owned") -> None:
        super().__init__(facts_per_call=engine.most, overwrites=engine.overwrites, prune=prune)
        self.engine = engine

    @staticmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[str, int]:
        return facts_of(path, value, _pair)

    async def write_facts(self, call: Call[str, int]) -> None:
        await self.engine.write(call)

    async def read_facts(self) -> AsyncIterator[Facts[str, int]]:
        for fact in self.engine.facts.items():
            await anyio.sleep(0.7)
            yield dict([fact])

    async def health(self) -> None:
        pass


def _pair(row: Any) -> tuple[str, int]:  # noqa: ANN401 - any JSON
    return row[0], row[1]


def _raw(facts: Mapping[str, int]) -> bytes:
    return encode(list(facts.items()))


# ------------------------------------------------------------------------------------------------------ the model


def after(owned: Owned, change: DataChange) -> Owned:
    """What each path owns after a change, and nothing else."""
    left = {path: facts for path, facts in owned.items() if path[: len(change.path)] != change.path}
    if isinstance(change, SetData):
        left[change.path] = dict(facts_of(change.path, change.value, _pair))
    return left


def union(owned: Owned) -> dict[str, int] | None:
    """What the engine should hold, None if two paths do not agree."""
    facts: dict[str, int] = {}
    for more in owned.values():
        if any(facts.get(key, attribute) != attribute for key, attribute in more.items()):
            return None
        facts |= more
    return facts


def written(owned: Owned, changes: Sequence[DataChange]) -> Owned | None:
    """What each path owns after a write, None if the write must be refused."""
    for change in changes:
        owned = after(owned, change)
    facts = union(owned)
    return None if facts is None or BANNED in facts else owned


# --------------------------------------------------------------------------------------- what stands for the core


@dataclass
class Core:
    """Sends writes as the core does: what is in doubt is written again, and what was before it if that is refused.

    One that gives up does the latter at once, as after an outage in which something newer came.
    """

    store: Store
    owned: Owned = field(default_factory=dict[DocumentPath, "dict[str, int]"])
    gives_up: bool = False

    async def commit(self, writes: Sequence[Sequence[DataChange]], *, strict: bool) -> None:
        todo = list(zip(writes, await self.once(writes), strict=True))
        again = False
        for _ in range(_TRIES):
            doubtful: list[Sequence[DataChange]] = []
            given_up: list[DataChange] = []
            for changes, outcome in todo:
                event(type(outcome).__name__)
                if isinstance(outcome, Unknown) and self.gives_up:
                    given_up += changes
                    continue
                if isinstance(outcome, Unknown):
                    doubtful.append(changes)
                    continue
                self._settle(changes, outcome, strict=strict)
                if again and isinstance(outcome, Refused):
                    await self._put_back(changes)
            await self._put_back(given_up)
            # Where one waits for another, the other has its turn.
            todo = [(changes, Unknown(StoreUnavailableError("not tried"))) for changes in doubtful[1:]]
            todo += [(changes, (await self.once([changes]))[0]) for changes in doubtful[:1]]
            again = True
            if not todo:
                return
        raise BrokenPromiseError(f"{todo} is never settled")

    async def _put_back(self, changes: Sequence[DataChange]) -> None:
        before: list[DataChange] = []
        for change in changes:
            before.append(DeleteData(change.path))
            before += [SetData(path, _raw(facts)) for path, facts in self.owned.items() if change.path.covers(path)]
        for _ in range(_TRIES):
            if not isinstance((await self.once([before]))[0], Unknown):
                return
        raise BrokenPromiseError(f"{before} is never settled")

    def _settle(self, changes: Sequence[DataChange], outcome: Applied | Refused, *, strict: bool) -> None:
        expected = written(self.owned, changes)
        if isinstance(outcome, Applied):
            assert expected is not None, f"{changes} was applied to {self.owned}"
            self.owned = expected
        else:
            assert expected is None or not strict, f"{changes} was refused: {outcome}"

    async def once(self, writes: Sequence[Sequence[DataChange]]) -> list[Applied | Refused | Unknown]:
        unknown = Unknown(StoreUnavailableError("no answer"))
        held = dict(self.store.engine.facts)
        try:
            with anyio.move_on_after(5):
                result = await self.store.commit(Changes(tuple(Write("w", tuple(changes)) for changes in writes)))
                return list(result.outcomes)
        except StoreUnavailableError:
            assert held == self.store.engine.facts, "something has landed"
        return [unknown] * len(writes)


def _put(path: DocumentPath, facts: Mapping[str, int]) -> SetData:
    return SetData(path, _raw(facts))


_changes: st.SearchStrategy[DataChange] = st.one_of(
    st.builds(_put, st.sampled_from(_PATHS), _values),
    st.builds(_put, st.sampled_from(_PATHS), _values),
    st.builds(DeleteData, st.sampled_from(_PATHS)),
)
_writes = st.lists(_changes, min_size=1, max_size=3)
_verdicts: st.SearchStrategy[Verdict] = st.sampled_from(
    ["ok", "ok", "ok", "refuse", "away", "lost, landed", "lost", "hangs, landed", "hangs"]
)


@dataclass(frozen=True)
class Step:
    """One commit, and what becomes of the calls it makes; the engine behaves after that."""

    writes: list[list[DataChange]]
    verdicts: list[Verdict]
    gives_up: bool = False


def _apart(writes: Sequence[Sequence[DataChange]]) -> list[list[Sequence[DataChange]]]:
    """Cut a commit where writes overlap, as the core does where each write is atomic by itself."""
    commits: list[list[Sequence[DataChange]]] = [[]]
    for changes in writes:
        paths = [change.path for write in commits[-1] for change in write]
        if any(path.overlaps(change.path) for path in paths for change in changes):
            commits.append([])
        commits[-1].append(changes)
    return commits


_steps = st.lists(
    st.builds(Step, st.lists(_writes, min_size=1, max_size=4), st.lists(_verdicts, max_size=6), st.booleans()),
    max_size=6,
)


@example(  # what needs nothing of the engine is not in doubt with what shares its call
    steps=[
        Step([[_put(_PATHS[3], {"f0": 1})]], []),
        Step([[_put(_PATHS[0], {"f1": 0})], [_put(_PATHS[3], {"f0": 1})]], ["lost, landed"]),
        Step([[_put(_PATHS[0], {"f0": 0})]], []),
    ],
    most=1,
    overwrites=False,
)
@example(  # what has landed when the commit hangs is as little heard of as what hangs
    steps=[
        Step([[_put(_PATHS[0], {"f0": 0})]], []),
        Step([[DeleteData(_PATHS[0])], [_put(_PATHS[3], {"f0": 0})]], ["ok", "hangs, landed", "refuse"], gives_up=True),
    ],
    most=1,
    overwrites=False,
)
@example(  # what landed and made room for what hangs is given up together with it
    steps=[
        Step([[_put(_PATHS[0], {"f0": 1, "f1": 0})]], []),
        Step(
            [[_put(_PATHS[0], {})], [_put(_PATHS[3], {"f0": 0})]],
            ["ok", "ok", "hangs, landed", "refuse"],
            gives_up=True,
        ),
    ],
    most=1,
    overwrites=False,
)
@given(steps=_steps, most=st.sampled_from([1, 2, 3, 100]), overwrites=st.booleans())
def test_facts_end_as_the_model(steps: list[Step], most: int, overwrites: bool) -> None:  # noqa: FBT001 - generated
    """The engine holds what paths own and nothing else, whatever was refused, lost, cut off or taken back."""

    async def main() -> None:
        engine = Engine(most, overwrites)
        core = Core(Store(engine))
        for step in steps:
            engine.verdicts, core.gives_up = list(step.verdicts), step.gives_up
            for writes in _apart(step.writes):
                await core.commit(writes, strict="refuse" not in step.verdicts)
            engine.verdicts, core.gives_up = [], False
            # What the engine refused to remove is removed with the next commit.
            await core.commit([[DeleteData(_NOWHERE)]], strict=True)
            assert engine.facts == union(core.owned)

    run(main)


def test_what_landed_in_a_commit_that_was_given_up_can_be_given_up_too() -> None:
    """If the engine refuses what was before it, that is owned all the same: nobody has heard that it is not."""

    async def main() -> None:
        engine = Engine(most=1, overwrites=False)
        store = Store(engine)
        core = Core(store)
        path, other = _PATHS[3:]
        engine.verdicts = ["ok", "hangs, landed"]
        outcomes = await core.once([[_put(path, {"f0": 0})], [_put(other, {"f1": 0})]])
        assert all(isinstance(outcome, Unknown) for outcome in outcomes)
        assert engine.facts == {"f0": 0, "f1": 0}
        # They are revoked, and at first the engine refuses that.
        engine.verdicts = ["refuse"]
        await core.once([[DeleteData(path)], [DeleteData(other)]])
        assert (store.facts_at(path), store.facts_at(other)) == (None, None)
        await core.once([[DeleteData(_NOWHERE)]])
        assert engine.facts == {}

    run(main)


def test_what_counts_as_in_doubt_for_a_fact_that_stays_can_be_given_up() -> None:
    """A write that is in force counts as in doubt while a fact is left that should be gone, and can be taken back."""

    async def main() -> None:
        engine = Engine(most=1, overwrites=False, verdicts=["ok", "refuse", "refuse", "refuse", "refuse"])
        store = Store(engine)
        core = Core(store)
        path, other = _PATHS[3:]
        await core.once([[_put(path, {"f0": 0, "f1": 0})]])
        assert engine.facts == {"f0": 0}
        engine.verdicts = ["ok", "away"]
        (outcome,) = await core.once([[_put(other, {"f2": 0})]])
        assert isinstance(outcome, Unknown)
        assert engine.facts == {"f0": 0, "f2": 0}
        engine.verdicts = ["refuse"]
        await core.once([[DeleteData(other)]])
        assert store.facts_at(other) is None
        await core.once([[DeleteData(_NOWHERE)]])
        assert engine.facts == {}

    run(main)


@pytest.mark.parametrize("prune", ["owned", "all"])
def test_nothing_is_owned_if_nothing_has_landed(prune: Prune) -> None:
    """A write that needs no call is not in force either if the engine is away for one that goes with it."""

    async def main() -> None:
        engine = Engine(most=1, overwrites=False, facts={"f0": 0})
        async with Store(engine, prune=prune).opened() as store:
            strays = await _survey(store)
            core = Core(store)
            path, other = _PATHS[3:]
            await core.once([[_put(_PATHS[0], {"f0": 0})]] if prune == "owned" else [])
            engine.verdicts = ["away"]
            with pytest.raises(StoreUnavailableError):
                await store.commit(Changes((_a_write(path, {"f0": 0}), _a_write(other, {"f1": 0}))))
            assert (store.facts_at(path), store.facts_at(other)) == (None, None)
            await core.once([[DeleteData(_NOWHERE)]])
            assert engine.facts == {"f0": 0}
            assert list(await _survey(store)) == strays
            await core.once([[DeleteData(_PATHS[0])], [DeleteData(UNOWNED)]])
            assert engine.facts == {}

    run(main)


def _a_write(path: DocumentPath, facts: Mapping[str, int]) -> Write:
    return Write("w", (_put(path, facts),))


@given(
    writes=st.lists(_writes, max_size=5),
    most=st.sampled_from([1, 2, 3, 100]),
    overwrites=st.booleans(),
    group=st.booleans(),
)
def test_facts_are_sent_once(writes: list[list[DataChange]], most: int, overwrites: bool, group: bool) -> None:  # noqa: FBT001 - generated
    """A write sends its difference and no more; those that go together do not repeat each other; order counts."""

    async def main() -> None:
        engine = Engine(most, overwrites)
        core = Core(Store(engine))
        for commit in [writes] if group else [[changes] for changes in writes]:
            before, bound, owned = dict(engine.facts), 0, core.owned
            for changes in commit:
                expected = written(owned, changes)
                if expected is not None:
                    bound += _difference(union(owned) or {}, union(expected) or {}, overwrites=overwrites)
                    owned = expected
                elif any(BANNED in change.value.decode() for change in changes if isinstance(change, SetData)):
                    bound += 1_000  # what was sent before the refusal, and taken back
            engine.named = 0
            await core.commit(commit, strict=True)
            assert engine.named <= bound
            if len(commit) == 1 and bound < 1_000:
                assert engine.named == bound
            assert engine.facts == union(owned), f"from {before}"

    run(main)


def _difference(old: Mapping[str, int], new: Mapping[str, int], *, overwrites: bool) -> int:
    changed = [key for key in old.keys() & new.keys() if old[key] != new[key]]
    return len(old.keys() ^ new.keys()) + len(changed) * (1 if overwrites else 2)


_held = st.dictionaries(st.sampled_from(_FACTS), st.sampled_from([0, 1]), max_size=6)


@example(  # what landed and made room for what hangs can't be undone beside it
    held={},
    steps=[
        Step([[_put(_PATHS[0], {"f0": 1, "f1": 0})]], []),
        Step([[_put(_PATHS[0], {})], [_put(_PATHS[3], {"f0": 0})]], ["ok", "ok", "hangs, landed", "refuse"]),
    ],
    most=1,
    overwrites=False,
)
@given(held=_held, steps=_steps, most=st.sampled_from([1, 2, 100]), overwrites=st.booleans())
def test_facts_of_no_path_are_left_or_pruned(
    held: dict[str, int],
    steps: list[Step],
    most: int,
    overwrites: bool,  # noqa: FBT001 - generated
) -> None:
    """With `prune=owned` no fact appears that was not there before; with `prune=all` they go, and only when asked."""

    async def main(prune: Prune) -> None:
        engine = Engine(most, overwrites, dict(held))
        async with Store(engine, prune=prune).opened() as store:
            core = Core(store)
            strays = await _survey(store)
            assert strays == ([UNOWNED] if held and prune == "all" else [])
            for step in steps:
                engine.verdicts = list(step.verdicts)
                for writes in _apart(step.writes):
                    await core.commit(writes, strict="refuse" not in step.verdicts)
                engine.verdicts = []
                owned = union(core.owned) or {}
                assert owned.items() <= engine.facts.items()
                left = {key: attribute for key, attribute in engine.facts.items() if key not in owned}
                assert left.items() <= held.items()
            if strays:
                await core.commit([[DeleteData(UNOWNED)]], strict=True)
                assert engine.facts == union(core.owned)
                assert list(await _survey(store)) == ([UNOWNED] if engine.facts.keys() - owned_keys(core) else [])

    run(lambda: main("owned"))
    run(lambda: main("all"))


def owned_keys(core: Core) -> set[str]:
    return set(union(core.owned) or {})


async def _survey(store: Store) -> Sequence[DocumentPath]:
    while True:
        try:
            return list(await store.owned_paths())
        except StoreUnavailableError as err:
            if "facts so far" not in str(err):
                raise
