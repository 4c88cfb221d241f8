"""The same promises with an engine of facts: no documents, no marker, no read back, three facts at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cabochon.contract.policy_store import StoreTraits
from cabochon.documents.json_values import decode
from cabochon.errors import StateLostError, TransactionError
from cabochon.kit.facts import Call
from cabochon.kit.facts import Facts as FactsByKey
from cabochon.sync.rules.update import EntryState
from cabochon.transactions.changes import Changes
from cabochon.transactions.commit_result import CommitResult

# The odd stores are tests themselves, and in no distribution.
from ..odd_stores.fact_set_store import MAX_CHANGES, Fact, FactSetEngine, OddFactStore  # noqa: TID252
from . import model, peek
from .virtual import BrokenPromiseError, run
from .world import Fetch, Plan, a_world

Facts: TypeAlias = dict[tuple[str, ...], list[list[str]]]

NO_FACTS = {"no": "facts"}
BANNED = "mallory"

_paths = st.sampled_from(["/a", "/a", "/a/x", "/a2", "/b", "/"])
_facts = st.lists(st.sampled_from([["ann", "reads", "plan"], ["bob", "reads", "plan"]]), max_size=2, unique_by=str)
_some_banned = st.lists(
    st.sampled_from([[BANNED, "reads", "plan"], *([f"user{number}", "reads", "plan"] for number in range(5))]),
    max_size=6,
    unique_by=str,
)
_fetches = st.none() | st.builds(Fetch, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0, 0, 3]))


def _put(path: str, value: Any, fetch: Fetch | None) -> Plan:  # noqa: ANN401 - any JSON
    return Plan(path, value, "PUT", fetch)


def _more(path: str, fact: list[str], fetch: Fetch | None) -> Plan:
    return Plan(path, [{"op": "add", "path": "/-", "value": fact}], "PATCH", fetch)


_plans = st.one_of(
    st.builds(_put, _paths, _facts, _fetches),
    st.builds(_put, _paths, _facts, _fetches),
    st.builds(_more, _paths, st.sampled_from([["eve", "writes", "plan"], ["ann", "writes", "plan"]]), _fetches),
    st.builds(_put, _paths, st.just(NO_FACTS), st.none()),
)
_alone: st.SearchStrategy[tuple[Plan, ...]] = st.tuples(st.builds(_put, _paths, _some_banned, st.none()))


@dataclass(frozen=True, slots=True)
class Send:
    after_s: float
    plans: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """The engine is down for a while, or loses the answers of the next writes, of which these land."""

    after_s: float
    down_s: float
    lost: tuple[bool, ...]


_gaps = st.sampled_from([0.0, 0.0, 0.1, 1.0])
_several: st.SearchStrategy[tuple[Plan, ...]] = st.lists(_plans, min_size=1, max_size=5).map(tuple)
_lost: st.SearchStrategy[tuple[bool, ...]] = st.lists(st.booleans(), max_size=3).map(tuple)
_events = st.lists(
    st.one_of(
        st.builds(Send, _gaps, _several),
        st.builds(Send, _gaps, _alone),
        st.builds(Trouble, _gaps, st.sampled_from([0.0, 0.5, 7.0]), _lost),
    ),
    max_size=10,
)


class _SlowStore(OddFactStore):
    """Takes its time, and sees that no commit is larger than the engine can take."""

    async def commit(self, changes: Changes) -> CommitResult:
        if sum(len(write.changes) for write in changes.writes) > MAX_CHANGES:
            raise BrokenPromiseError("a commit is too large")
        await anyio.sleep(0.01)
        return await super().commit(changes)


def _expected(attempts: list[peek.Attempt]) -> Facts:
    """Give each path the facts that it owns: a PUT takes the place of what the path and those below it owned."""
    owned: Facts = {}
    for attempt in sorted(attempts, key=lambda one: one.number):
        for outcome in attempt.outcomes:
            if outcome.in_force:
                facts = _written(owned, outcome)
                owned = {path: kept for path, kept in owned.items() if path[: len(outcome.path)] != outcome.path}
                owned[outcome.path] = facts
            elif outcome.state is EntryState.REFUSED:
                assert _is_refused(owned, outcome), f"{outcome} was refused, and applies to {owned}"
    return owned


def _written(owned: Facts, outcome: peek.Outcome) -> list[list[str]]:
    facts: Any = None
    if outcome.method == "PUT":
        facts = decode(outcome.raw or b"")
    elif outcome.path in owned:
        facts = model.patched({"facts": owned[outcome.path]}, ("facts",), outcome.operations)["facts"]
    if facts.__class__ is not list:
        raise model.RefusedError("no facts")
    return facts


def _is_refused(owned: Facts, outcome: peek.Outcome) -> bool:
    try:
        return any(BANNED in fact for fact in _written(owned, outcome))
    except model.RefusedError:
        return True


def _is_refusable(plan: Plan) -> bool:
    return plan.value == NO_FACTS or BANNED in str(plan.value)


def _as_sets(facts: Facts) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    return {path: set(map(tuple, owned)) for path, owned in facts.items() if owned}


@example(  # the patch is judged by a write that the engine is about to refuse
    events=[
        Send(0.0, (Plan("/a", []),)),
        Send(0.0, (Plan("/a/x", []), Plan("/a", NO_FACTS), _more("/a/x", ["eve", "writes", "plan"], None))),
    ],
    seed=0,
)
@example(  # the patch does not apply, and what follows it in the same write may or may not have landed
    events=[
        Send(0.0, (Plan("/a/x", []), _more("/a", ["eve", "writes", "plan"], None), Plan("/a", []))),
        Trouble(0.0, 0.0, (False,)),
    ],
    seed=0,
)
@example(  # the root is a path like any other: without facts of its own there is nothing to patch
    events=[
        Send(0.0, (Plan("/a", []),)),
        Trouble(0.0, 7.0, ()),
        Send(0.0, (_more("/", ["eve", "writes", "plan"], None), Plan("/", []))),
    ],
    seed=0,
)
@example(  # what the path above takes away is back when that is refused after its first answer was lost
    events=[
        Trouble(0.0, 0.0, (False,)),
        Send(0.0, (Plan("/a/x", []),)),
        Send(0.0, (_more("/a/x", ["eve", "writes", "plan"], Fetch()),)),
        Send(0.0, (Plan("/a", [[name, "reads", "plan"] for name in ("user0", "user1", "user2", BANNED)]),)),
    ],
    seed=0,
)
@given(events=_events, seed=st.integers(0, 99))
def test_scenario_with_a_fact_engine_ends_as_the_model(events: list[Send | Trouble], seed: int) -> None:
    """Each path owns the facts that were saved there last, whatever answers were lost and however long it was down."""

    async def main() -> None:
        facts = FactSetEngine(banned={BANNED})
        async with a_world(store=lambda _engine, _tasks: _SlowStore(facts), listeners={}, seed=seed) as world:
            world.connect()
            sent = 0
            down = any(isinstance(event, Trouble) and event.down_s for event in events)
            for event in events:
                await anyio.sleep(event.after_s)
                if isinstance(event, Send):
                    # What only the engine can judge, and judges when it is back, is for a test of its own.
                    plans = [plan for plan in event.plans if not (down and _is_refusable(plan))]
                    world.send(f"u{sent}", *plans or [Plan("/b", [])])
                    sent += 1
                else:
                    facts.lose_answers.extend(event.lost)
                    facts.up = not event.down_s
                    await anyio.sleep(event.down_s)
                    facts.up = True
            await world.settled()
            owned = _as_sets(_expected(world.attempts))
            assert set[tuple[str, ...]]().union(*owned.values()) == facts.facts
            desired = peek.desired(world.pipeline)
            assert owned == _as_sets({path: decode(desired.read(path) or b"[]") for path in desired.owned()})
            assert sent == sum(attempt.kind is peek.Kind.LIVE for attempt in world.attempts)

    run(main, seed=seed)


ANN, BOB, EVE = (["ann", "reads", "plan"], ["bob", "reads", "plan"], ["eve", "reads", "plan"])
_TOO_MUCH = [[name, "reads", "plan"] for name in ("user0", "user1", "user2", BANNED)]
"""Two calls, the second of which is refused."""


def test_a_refused_write_whose_first_answer_was_lost_leaves_what_is_owned_below() -> None:
    """What a PUT would have taken away is owned as before, and not forgotten, once the PUT turns out to be refused."""

    async def main() -> None:
        facts = FactSetEngine(banned={BANNED})
        async with a_world(store=lambda _engine, _tasks: OddFactStore(facts), listeners={}) as world:
            world.connect()
            world.send("below", Plan("/a/x", [ANN]))
            await world.settled()
            facts.lose_answers.append(True)
            world.send("above", Plan("/a", _TOO_MUCH))
            await world.settled()
            assert not world.attempt("above").outcomes[0].in_force
            assert facts.facts == {_fact(ANN)}
            facts.facts.clear()
            facts.up = False
            await anyio.sleep(3)
            facts.up = True
            await world.settled()
            assert facts.facts == {_fact(ANN)}

    run(main)


def test_only_the_guilty_entry_of_a_write_whose_first_answer_was_lost_is_refused() -> None:
    """Entries that overlap are told apart: the one that the engine takes is in force, the other is not said to be."""

    async def main() -> None:
        facts = FactSetEngine(banned={BANNED})
        async with a_world(store=lambda _engine, _tasks: OddFactStore(facts), listeners={}) as world:
            world.connect()
            facts.lose_answers.append(True)
            world.send("both", Plan("/a", [ANN]), Plan("/a/x", _TOO_MUCH))
            await world.settled()
            assert [outcome.in_force for outcome in world.attempt("both").outcomes] == [True, False]
            assert facts.facts == {_fact(ANN)}

    run(main)


def test_a_patch_is_made_once_though_the_engine_lost_its_state_before_the_patch_was_cleared_up() -> None:
    """A patch whose answer was lost, in an engine that is empty when it is asked again, counts once."""

    class Emptied(OddFactStore):
        async def write_facts(self, call: Call[Fact, None]) -> None:
            if losses and not self.engine.lose_answers and losses.pop(0):
                self.engine.facts.clear()
                raise StateLostError("another engine")
            await super().write_facts(call)

    losses: list[bool] = []

    async def main() -> None:
        facts = FactSetEngine()
        async with a_world(store=lambda _engine, _tasks: Emptied(facts), listeners={}) as world:
            world.connect()
            world.send("put", Plan("/a", [ANN, BOB, EVE]))
            await world.settled()
            facts.lose_answers.append(False)
            # Once what nobody owns any more is gone, and before the rest is written again.
            losses.extend([False, True])
            plan = ["ann", "writes", "plan"]
            operations = [{"op": "remove", "path": "/0"}, {"op": "add", "path": "/-", "value": plan}]
            world.send("patch", Plan("/a", operations, "PATCH"))
            await world.settled()
            assert not losses
            assert facts.facts == {_fact(BOB), _fact(EVE), _fact(plan)}

    run(main)


@pytest.mark.parametrize("path", ["/a", "/"])
def test_facts_that_are_deleted_while_the_engine_is_away_are_gone_when_it_is_back(path: str) -> None:
    """The root is a path like any other: it owns facts, and what was there must not stay."""

    async def main() -> None:
        facts = FactSetEngine()
        async with a_world(store=lambda _engine, _tasks: OddFactStore(facts), listeners={}) as world:
            world.connect()
            world.send("both", Plan(path, [ANN]), Plan("/b", [BOB]))
            await world.settled()
            facts.up = False
            await world.until(lambda: peek.away(world.pipeline))
            with pytest.raises(TransactionError, match="not available"):
                async with world.pipeline.policy_store.transaction_context() as transaction:
                    await transaction.delete_policy_data(path)
            world.send("again", Plan("/b", [BOB]))
            facts.up = True
            await world.settled()
            assert facts.facts == {_fact(BOB)}

    run(main)


class _TardyStore(OddFactStore):
    """Takes a second for a call of at most three facts, and says so."""

    traits: ClassVar[StoreTraits] = dataclasses.replace(OddFactStore.traits, slowest_bytes_per_s=20)

    async def write_facts(self, call: Call[Fact, None]) -> None:
        await anyio.sleep(1)
        await super().write_facts(call)


def test_a_large_set_has_the_time_that_it_needs() -> None:
    """A commit may take longer than its deadline as the engine is slow, and the engine does not count as lost."""

    async def main() -> None:
        facts = FactSetEngine()
        many = [[f"user{number}", "reads", "plan"] for number in range(90)]
        store = _TardyStore(facts)
        async with a_world(
            store=lambda _engine, _tasks: store, listeners={}, commit_deadline=timedelta(seconds=5)
        ) as world:
            world.connect()
            world.send("large", Plan("/large", many))
            await world.settled()
            assert len(facts.facts) == 90
            assert world.attempt("large").outcomes[0].in_force
            counters = world.pipeline.metrics.snapshot()
            assert not counters.keys() & {"engine.lost", "commits.answers_lost"}

    run(main)


_held = st.lists(st.sampled_from([("ann", "reads", "plan"), ("old", "reads", "plan"), ("old", "reads", "plans")]))


@given(held=_held, written=_facts, later=_facts, read_s=st.sampled_from([0.0, 0.4, 3.0, 20.0]))
def test_facts_of_an_earlier_life_go_once_this_one_is_synced(
    held: list[Fact], written: list[list[str]], later: list[list[str]], read_s: float
) -> None:
    """With `prune=all` they stay until the first sync is complete, however long reading them takes, and go then."""

    class Pruning(OddFactStore):
        async def read_facts(self) -> AsyncIterator[FactsByKey[Fact, None]]:
            for fact in list(self.engine.facts):
                await anyio.sleep(read_s)
                yield {fact: None}

    async def main() -> None:
        facts = FactSetEngine(set(held))
        opened = Pruning(facts, prune="all").opened()
        async with opened as store, a_world(store=lambda _engine, _tasks: store, listeners={}) as world:
            world.base(Plan("/base", written, fetch=Fetch(2.0)))
            world.connect()
            await anyio.sleep(1.5)
            assert set(held) <= facts.facts
            await world.until(lambda: peek.log_of(world.pipeline).ready, within_s=200)
            assert facts.facts == set(map(_fact, written))
            world.send("later", Plan("/later", later))
            await world.settled()
            assert facts.facts == set(map(_fact, [*written, *later]))

    run(main)


def _fact(row: list[str]) -> Fact:
    subject, relation, thing = row
    return subject, relation, thing
