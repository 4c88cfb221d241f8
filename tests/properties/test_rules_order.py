"""DESIGN rules 1 to 7: order, overtaking, transactions, group commit, copies, retries, raw values."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.sync.rules.update import EntryState
from cabochon_mock_store.engine import MockEngine

from . import peek
from .checks import play
from .scenarios import OTHER_TOPIC, TOPICS, Scenario, Send
from .virtual import run
from .world import TOPIC, ChaosStore, Fetch, Plan, ScriptedSource, a_world

SLOW = Fetch(delay_s=2.0)
HUNG = Fetch(delay_s=math.inf)
APPEND = [{"op": "add", "path": "/l/-", "value": 1}]

_delays = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 2.0])
_paths = st.sampled_from(["/a", "/a/x", "/a/x/z", "/a/y", "/a2", "/b"])


@st.composite
def _fetched_updates(draw: st.DrawFn) -> tuple[Send, ...]:
    sends: list[Send] = []
    for number in range(draw(st.integers(2, 8))):
        plan = Plan(draw(_paths), {"n": number, "x": {"n": number}}, "PUT", Fetch(draw(_delays)))
        sends.append(Send(draw(_delays), (plan,)))
    return tuple(sends)


@given(_fetched_updates(), st.integers(0, 99))
def test_rule_01_updates_that_overlap_take_effect_in_the_order_of_their_arrival(
    sends: tuple[Send, ...], seed: int
) -> None:
    """However long each fetch takes, the engine ends as if one update had been applied after the other."""
    done = play(Scenario(sends, seed=seed))

    for attempt in done.world.attempts:
        for outcome in attempt.outcomes:
            assert outcome.state in {EntryState.SAVED, EntryState.MOOT}


def test_rule_01_paths_are_compared_by_segment() -> None:
    """`/users2` does not wait for a slow `/users`; `/users/bob` does."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("slow", Plan("/users", {}, fetch=SLOW))
            world.send("below", Plan("/users/bob", 1))
            world.send("beside", Plan("/users2", 2))
            await anyio.sleep(0.5)
            assert {"users2": 2} == world.engine.documents
            await world.until(lambda: world.engine.get("/users/bob") == 1, within_s=3)

    run(main)


@given(
    path=st.sampled_from(["/users/bob", "/users", "/"]),
    method=st.sampled_from(["PUT", "PATCH"]),
    seed=st.integers(0, 99),
)
def test_rule_02_a_hung_source_never_delays_a_revocation(path: str, method: str, seed: int) -> None:
    """A ready PUT of an equal or ancestor path lands at once; the older write is dropped when it comes, and saved."""

    async def main() -> None:
        async with a_world(seed=seed) as world:
            world.connect()
            world.send("first", Plan("/users/bob", {"role": "admin", "l": []}))
            await anyio.sleep(0.1)
            value = {"role": "admin"} if method == "PUT" else [{"op": "add", "path": "/role", "value": "root"}]
            world.send("grant", Plan("/users/bob", value, "PUT" if method == "PUT" else "PATCH", SLOW))
            await anyio.sleep(0.1)
            whole = {"/users/bob": {"role": None}, "/users": {"bob": {"role": None}}}
            world.send("revoke", Plan(path, whole.get(path, {"users": {"bob": {"role": None}}})))
            took = await world.until(lambda: world.engine.get("/users/bob/role", default=...) is None, within_s=0.1)
            assert took < 0.1
            await world.settled()
            assert world.engine.get("/users/bob/role", default=...) is None
            (report,) = world.recorder.of("grant")
            assert [True] == report.saved
            assert [True] == report.fetched

    run(main, seed=seed)


def test_rule_03_entries_of_an_update_land_together_and_a_failed_one_holds_nobody_back() -> None:
    """One commit for the update, in list order; the failed entry is reported and tried again by itself."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            await anyio.sleep(0.5)
            before = len(world.engine.commits)
            world.send(
                "many",
                Plan("/a", {"l": []}, fetch=Fetch(0.3)),
                Plan("/a", APPEND, "PATCH"),
                Plan("/b", 1, fetch=Fetch(0.6)),
                Plan("/c", 1, fetch=Fetch(0.0, failures=2)),
            )
            await anyio.sleep(0.59)
            assert {} == world.engine.documents
            await world.until(lambda: bool(world.recorder.of("many")), within_s=3)
            assert {"a": {"l": [1]}, "b": 1} == world.engine.documents
            writes = [one.changes.writes for one in list(world.engine.commits)[before:] if one.changes.writes]
            assert [["many"]] == [[write.transaction_id for write in group] for group in writes]
            (report,) = world.recorder.of("many")
            assert [True, True, True, False] == report.fetched == report.saved
            assert {"failed": 1, "successful": 0} == world.health["transaction_data_statistics"]
            assert world.health["healthy"] is False
            await world.settled()
            assert 1 == world.engine.get("/c")
            assert world.health["healthy"] is True
            assert world.health["in_sync"] is True

    run(main)


def test_rule_03_in_an_update_the_later_entry_counts() -> None:
    """A fetch that fails is not tried again over a later entry of its update; the other way round it is out of sync."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("covered", Plan("/a", "old", fetch=Fetch(0.0, failures=3)), Plan("/a", "new"))
            world.send("open", Plan("/b", "old"), Plan("/b/x", "new", fetch=Fetch(0.0, failures=3)))
            await world.until(lambda: len(world.recorder.delivered) == 2)
            await anyio.sleep(0.1)
            assert ["/b/x"] == [one["path"] for one in world.health["out_of_sync_paths"]]
            await world.settled()
            assert "new" == world.engine.get("/a")
            assert [[True, True]] == [one.saved for one in world.recorder.of("covered")]

    run(main)


def test_rule_03_base_entries_are_a_transaction_each() -> None:
    """One that hangs keeps neither its siblings nor live updates waiting."""

    async def main() -> None:
        async with a_world() as world:
            world.base(Plan("/a", 1, fetch=HUNG), Plan("/b", 2, fetch=Fetch(0.2)), Plan("/c", 3))
            world.connect()
            await anyio.sleep(0.3)
            assert {"b": 2, "c": 3} == world.engine.documents
            assert world.health["ready"] is False

    run(main)


@given(updates=st.integers(20, 120), latency_s=st.sampled_from([0.05, 0.2, 0.5]), seed=st.integers(0, 99))
def test_rule_04_a_slow_engine_costs_latency_and_no_throughput(updates: int, latency_s: float, seed: int) -> None:
    """What arrives while a commit is in flight goes into the next one, all of it, with its own health."""

    async def main() -> None:
        async with a_world(
            store=lambda engine, tasks: ChaosStore(engine, tasks, latency_s=latency_s), seed=seed
        ) as world:
            world.connect()
            await world.settled()
            before = len(world.engine.commits)
            for number in range(updates):
                world.send(f"u{number}", Plan(f"/a/k{number}", number))
            took = await world.until(lambda: len(world.engine.get("/a", {})) == updates, within_s=60)
            assert took < 8 * latency_s
            commits = [one.changes for one in list(world.engine.commits)[before:] if one.changes.writes]
            assert len(commits) <= 3
            assert all(one.state for one in commits)

    run(main, seed=seed)


@given(
    good=st.integers(0, 12),
    bad=st.lists(st.integers(0, 12), max_size=3, unique=True),
    blames=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rule_04_a_refused_group_is_split_and_the_others_land(
    good: int,
    bad: list[int],
    blames: bool,  # noqa: FBT001 - drawn
    seed: int,
) -> None:
    """Whether or not the engine says who is guilty, exactly the guilty entries are refused."""

    async def main() -> None:
        engine = MockEngine()
        engine.blames = blames
        async with a_world(
            engine=engine, store=lambda engine, tasks: ChaosStore(engine, tasks, latency_s=0.05), seed=seed
        ) as world:
            world.connect()
            world.send("scalar", Plan("/scalar", 1))
            await world.settled()
            for number in range(good + len(bad)):
                path = f"/scalar/k{number}" if number in bad else f"/a/k{number}"
                world.send(f"u{number}", Plan(path, number))
            await world.settled()
            guilty = {number for number in bad if number < good + len(bad)}
            for number in range(good + len(bad)):
                expected = EntryState.REFUSED if number in guilty else EntryState.SAVED
                assert expected is world.attempt(f"u{number}").outcomes[0].state
            assert set(world.engine.get("/a", {})) == {f"k{n}" for n in range(good + len(bad)) if n not in guilty}

    run(main, seed=seed)


@given(
    topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=6),
    gap_s=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)
def test_rule_05_a_copy_is_applied_once_and_a_resend_again(topics: list[str], gap_s: float, seed: int) -> None:
    """The same update under another topic is a copy; under a topic that has shown this sending it is a new one."""
    sendings, shown = 0, set[str]()
    for topic in topics:
        if not shown or topic in shown:
            sendings, shown = sendings + 1, set[str]()
        shown.add(topic)

    async def main() -> None:
        async with a_world(source=ScriptedSource(topics=TOPICS), seed=seed) as world:
            world.connect()
            world.send("base", Plan("/a", {"l": []}), topics=[TOPIC])
            update = world.send("append", Plan("/a", APPEND, "PATCH"), topics=[])
            update = type(update)(
                id="append", entries=tuple(world.entry(Plan("/a", APPEND, "PATCH"), TOPICS) for _ in "1")
            )
            for topic in topics:
                world.publish(update, [topic])
                await anyio.sleep(gap_s)
            await world.settled()
            assert [1] * sendings == world.engine.get("/a/l")
            assert sendings == len(world.recorder.of("append"))

    run(main, seed=seed)


def test_rule_05_another_payload_under_the_same_id_is_no_copy() -> None:
    """Two updates without an id, or with the same one, are two updates unless they say the same."""

    async def main() -> None:
        async with a_world(source=ScriptedSource(topics=TOPICS)) as world:
            world.connect()
            world.send("same", Plan("/a", 1), topics=[TOPIC])
            world.send("same", Plan("/b", 2), topics=[OTHER_TOPIC])
            await world.settled()
            assert {"a": 1, "b": 2} == world.engine.documents

    run(main)


def test_rule_06_a_failed_fetch_is_tried_again_until_it_lands() -> None:
    """In the background, with backoff, each try a new arrival."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("flaky", Plan("/a", "data", fetch=Fetch(0.0, failures=9)))
            await world.until(lambda: bool(world.recorder.of("flaky")))
            assert ["/a"] == [one["path"] for one in world.health["out_of_sync_paths"]]
            await world.settled()
            assert "data" == world.engine.get("/a")
            numbers = [attempt.number for attempt in world.attempts]
            assert numbers == sorted(set(numbers))
            assert len(numbers) > 3
            assert [[True]] == [one.saved for one in world.recorder.of("flaky", follow_up=True)]
            assert world.health["in_sync"] is True

    run(main)


@pytest.mark.parametrize("newer", ["/a", "/"], ids=["equal", "ancestor"])
@pytest.mark.parametrize("at", [1.5, 3.0, 4.0, 6.0])
def test_rule_06_a_retry_is_dropped_once_a_newer_put_covers_it(newer: str, at: float) -> None:
    """A retry never overtakes a newer PUT of an equal or ancestor path, whenever that lands."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("old", Plan("/a", "old", fetch=Fetch(0.4, failures=6)))
            await anyio.sleep(at)
            world.send("new", Plan(newer, "new" if newer == "/a" else {"a": "new"}))
            await world.settled()
            assert "new" == world.engine.get("/a")
            assert [[True]] == [one.saved for one in world.recorder.of("old", follow_up=True)]

    run(main)


@pytest.mark.parametrize("newer", ["/a/x", "/a"], ids=["equal", "ancestor"])
def test_rule_06_a_newer_failure_makes_no_older_one_moot(newer: str) -> None:
    """A newer entry that is refused, or can't be fetched, does not stop the retries of an older one."""

    async def main() -> None:
        async with a_world() as world:
            world.engine.reject_data = lambda change: "no" if getattr(change, "value", b"") == b'"new"' else None
            world.connect()
            world.send("old", Plan("/a/x", "old", fetch=Fetch(0.0, failures=3)))
            await world.until(lambda: bool(world.recorder.of("old")))
            world.send("refused", Plan(newer, "new"))
            world.send("hung", Plan(newer, "newest", fetch=HUNG))
            world.send("unreadable", Plan("/%ff", 1))
            await world.until(lambda: world.engine.get("/a/x") == "old", within_s=60)

    run(main)


def test_rule_06_a_failed_patch_is_never_tried_again() -> None:
    """Its path stays out of sync until a covering PUT lands."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("bad", Plan("/a", [{"op": "replace", "path": "/nothing", "value": 1}], "PATCH"))
            await anyio.sleep(120)
            assert 1 == len(world.attempts)
            world.send("patch", Plan("/", [{"op": "add", "path": "/b", "value": 1}], "PATCH"))
            await anyio.sleep(0.1)
            assert ["/a"] == [one["path"] for one in world.health["out_of_sync_paths"]]
            world.send("cover", Plan("/a", {}))
            await anyio.sleep(0.1)
            assert world.health["in_sync"] is True

    run(main)


@given(
    number=st.sampled_from(["12345678901234567890.123456789", "1e400", "0.1", "123456789012345678901234567890"]),
    as_patch=st.booleans(),
)
def test_rule_07_numbers_never_pass_through_a_float(number: str, as_patch: bool) -> None:  # noqa: FBT001 - drawn
    """From the frame into the engine and back into it after it was emptied, every digit stays."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            value = Decimal(number)
            world.send("first", Plan("/a", {"n": 0} if as_patch else {"n": value}))
            if as_patch:
                world.send("second", Plan("/a", [{"op": "add", "path": "/n", "value": value}], "PATCH"))
            await anyio.sleep(0.1)
            assert value == world.engine.get("/a/n")
            world.engine.lose_state()
            await world.until(lambda: world.engine.get("/a/n") == value, within_s=5)

    run(main)


@given(patches=st.integers(1, 60), seed=st.integers(0, 99))
def test_rule_07_the_desired_state_is_what_the_engine_holds(patches: int, seed: int) -> None:
    """Patches since the last whole document are folded in when they are needed, and no sooner lost."""

    async def main() -> None:
        async with a_world(seed=seed) as world:
            world.connect()
            world.send("base", Plan("/a", {"l": []}))
            for number in range(patches):
                world.send(f"p{number}", Plan("/a", [{"op": "add", "path": "/l/-", "value": number}], "PATCH"))
            await world.settled()
            world.engine.wipe()
            await world.until(lambda: world.engine.get("/a/l", default=[]) == list(range(patches)), within_s=5)
            assert {"a": {"l": list(range(patches))}} == peek.desired_documents(world.pipeline)

    run(main, seed=seed)


@pytest.mark.parametrize("path", ["/a", "/a/b"])
def test_patch_that_begins_with_the_whole_document_needs_none_before(path: str) -> None:
    """As in OPA; what follows applies to it, and it is restored as any document."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            begin: dict[str, Any] = {"op": "add", "path": "", "value": {"l": []}}
            world.send("new", Plan(path, [begin, *APPEND], "PATCH"))
            world.send("wrong", Plan("/c", [begin, {"op": "remove", "path": "/l/0"}], "PATCH"))
            world.send("late", Plan("/c", [{"op": "replace", "path": "", "value": 1}], "PATCH"))
            await world.settled()
            assert {"l": [1]} == world.engine.get(path)
            assert ["/c"] == [one["path"] for one in world.health["out_of_sync_paths"]]
            world.engine.wipe()
            await world.until(lambda: world.engine.get(path, default=None) == {"l": [1]}, within_s=5)

    run(main)


def test_array_for_the_root_becomes_its_member_items() -> None:
    """The root of an engine's data is an object; OPAL's agent does the same."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("before", Plan("/a", 1))
            world.send("list", Plan("/", [1, {"b": 2}]))
            world.send("scalar", Plan("/", 5))
            await world.settled()
            assert [1, {"b": 2}] == world.engine.get("/items")
            assert {"items": [1, {"b": 2}]} == peek.desired_documents(world.pipeline)
            assert world.health["healthy"] is False

    run(main)
