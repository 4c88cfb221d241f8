"""DESIGN rules 8 to 14: outages, empty engines, base and live, lives, lanes, reports, shutdown."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.contract.update_source import PolicyChanged
from cabochon.schemas import DataModule, PolicyBundle, RegoModule
from cabochon.sync.rules.update import EntryState
from cabochon.transactions.changes import Changes
from cabochon.transactions.commit_result import CommitResult
from cabochon_mock_store.engine import MockEngine

from . import peek
from .checks import play
from .scenarios import Scenario, Send
from .virtual import run
from .world import FAULTS, ChaosStore, Fetch, Plan, ReplayingSource, ScriptedSource, World, a_world

HUNG = Fetch(delay_s=math.inf)
POLICY = "package app\n\nallow := true\n"


def bundle(
    name: str, *data: tuple[str, str], old: str | None = None, modules: tuple[str, ...] = ("app",)
) -> PolicyBundle:
    """A bundle of these modules, each with a source that names the bundle."""
    return PolicyBundle(
        manifest=tuple(f"{module}.rego" for module in modules),
        hash=name,
        old_hash=old,
        data_modules=tuple(DataModule(path=path, data=text) for path, text in data),
        policy_modules=tuple(
            RegoModule(path=f"{module}.rego", package_name=module, rego=f"package {module} # {name}")
            for module in modules
        ),
    )


# ---------------------------------------------------------------------------------------------- 8: engine down


def test_rule_08_while_the_engine_is_down_nothing_is_refused_and_all_is_restored() -> None:
    """After the commit deadline an update ends without success; when the engine is back it gets its follow-up."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("before", Plan("/a", {"l": []}))
            await world.settled()
            # Not at the very moment of a probe, which would find the engine's loss before the updates do.
            await anyio.sleep(0.5)
            world.engine.go_down()
            world.send("put", Plan("/b", 1))
            world.send("patch", Plan("/a", [{"op": "add", "path": "/l/-", "value": 1}], "PATCH"))
            took = await world.until(lambda: bool(world.recorder.of("put") and world.recorder.of("patch")))
            assert 4 < took < 6
            assert [[False]] == [one.saved for one in world.recorder.of("put")]
            assert [[True]] == [one.fetched for one in world.recorder.of("patch")]
            await anyio.sleep(100)
            assert [] == world.recorder.of("put", follow_up=True)
            world.engine.come_up()
            await world.settled()
            assert {"a": {"l": [1]}, "b": 1} == world.engine.documents
            for name in ("put", "patch"):
                assert [[True]] == [one.saved for one in world.recorder.of(name, follow_up=True)]
            assert world.health["in_sync"] is True
            assert world.health["healthy"] is True

    run(main)


def test_rule_08_memory_is_bounded_by_the_data() -> None:
    """Any number of updates of the same documents leaves no more than those documents behind."""

    async def main() -> None:
        async with a_world(should_report_on_data_updates=False) as world:
            world.connect()
            await world.settled()
            world.engine.go_down()
            for number in range(3_000):
                world.send(f"u{number}", Plan(f"/a/k{number % 10}", number))
            await world.until(lambda: world.pipeline.under_way.updates == 0 and len(world.attempts) == 3_000)
            assert 10 == len(peek.view(world.pipeline).put_off)
            assert 10 == len(list(peek.desired(world.pipeline).owned()))
            assert not peek.book(world.pipeline)
            world.engine.come_up()
            await world.settled()
            assert {f"k{number % 10}": number for number in range(2_990, 3_000)} == world.engine.get("/a")

    run(main)


def test_rule_08_what_does_not_apply_is_refused_without_an_engine_to_ask() -> None:
    """A deferred entry is checked against our own copy: no follow-up may call saved what can't be."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("scalar", Plan("/a", 1))
            await world.settled()
            world.engine.go_down()
            world.send("below", Plan("/a/x", 1))
            world.send(
                "half",
                Plan("/b", {}),
                Plan("/b", [{"op": "add", "path": "/n", "value": 1}, {"op": "remove", "path": "/m"}], "PATCH"),
            )
            await world.until(lambda: len(world.attempts) == 3)
            world.engine.come_up()
            await world.settled()
            assert {"a": 1, "b": {}} == world.engine.documents
            assert EntryState.REFUSED is world.attempt("below").outcomes[0].state
            assert [] == world.recorder.of("below", follow_up=True)

    run(main)


def test_rule_08_an_engine_that_is_down_at_the_start_delays_nobody_for_ever() -> None:
    """The agent goes on without the engine, takes note of what happens, and fills it when it comes."""

    async def main() -> None:
        engine = MockEngine()
        engine.go_down()
        async with a_world(engine=engine) as world:
            world.base(Plan("/a", 1), Plan("/b", 2, fetch=Fetch(0.5)))
            await anyio.sleep(20)
            world.connect()
            await anyio.sleep(20)
            engine.come_up()
            await world.settled()
            assert {"a": 1, "b": 2} == engine.documents
            assert world.health["ready"] is True
            assert world.health["source_connected"] is True

    run(main)


# -------------------------------------------------------------------------------------------- 9: engine emptied

_writes = st.lists(
    st.builds(
        Send,
        st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 2.5]),
        st.sampled_from(
            [
                (Plan("/a", {"l": []}),),
                (Plan("/a", [{"op": "add", "path": "/l/-", "value": 1}], "PATCH"),),
                (Plan("/b", 1, fetch=Fetch(0.3)),),
            ]
        ),
    ),
    max_size=5,
).map(tuple)


@given(
    calls=st.dictionaries(st.integers(1, 40), st.sampled_from(FAULTS), min_size=1, max_size=4),
    writes=_writes,
    policies=st.booleans(),
    latency_s=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 99),
)
def test_rule_09_no_commit_makes_an_empty_engine_look_ready(
    calls: dict[int, str],
    writes: tuple[Send, ...],
    policies: bool,  # noqa: FBT001 - drawn
    latency_s: float,
    seed: int,
) -> None:
    """Emptied, cut off or silent at any call: whenever the engine says that it is ready, it holds everything."""
    base = (Plan("/base", {"x": 1}), Plan("/late", 2, fetch=Fetch(0.2)))
    play(Scenario(writes, base, latency_s, calls, policies=policies, seed=seed))


@given(at=st.floats(0, 3), wiped=st.booleans(), seed=st.integers(0, 99))
def test_rule_09_an_emptied_engine_is_found_within_five_seconds(at: float, wiped: bool, seed: int) -> None:  # noqa: FBT001 - drawn
    """Without any update either; documents and policies are written back."""

    async def main() -> None:
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1")
        async with a_world(source=source, seed=seed) as world:
            world.base(Plan("/a", {"x": 1}))
            world.connect()
            await world.settled()
            await anyio.sleep(at)
            if wiped:
                world.engine.wipe({"foreign": True})
            else:
                world.engine.lose_state()
            took = await world.until(lambda: world.health.get("ready") is True, within_s=5)
            assert took <= 5
            assert {"x": 1} == world.engine.get("/a")
            assert ["app.rego"] == list(world.engine.policies)

    run(main, seed=seed)


def test_rule_09_an_engine_that_goes_away_while_it_is_filled_is_filled_again() -> None:
    """The marker of the first step proves nothing about the documents after it."""

    async def main() -> None:
        engine = MockEngine()
        stores: list[ChaosStore] = []

        def store(engine: MockEngine, tasks: anyio.abc.TaskGroup) -> ChaosStore:
            stores.append(ChaosStore(engine, tasks))
            return stores[0]

        async with a_world(engine=engine, store=store) as world:
            world.base(Plan("/a", {"x": 1}))
            world.connect()
            await world.settled()
            engine.lose_state()
            failing = [True]
            engine.fail_next(n=1_000_000, when=lambda changes: failing[0] and bool(changes.writes))
            await anyio.sleep(30)
            assert world.health["ready"] is False
            assert {} == engine.documents
            failing.clear()
            failing.append(False)
            await world.until(lambda: world.health["ready"] is True, within_s=10)
            assert {"a": {"x": 1}} == engine.documents

    run(main)


# -------------------------------------------------------------------------------------------- 10: base and live


@given(
    base_s=st.sampled_from([0.0, 0.5, 2.0]),
    live_s=st.sampled_from([0.0, 0.2, 1.0]),
    failures=st.sampled_from([0, 0, 2]),
    seed=st.integers(0, 99),
)
def test_rule_10_base_data_are_older_than_any_live_update(
    base_s: float, live_s: float, failures: int, seed: int
) -> None:
    """However late the base data come, a live update sent after the subscription stays in force."""

    async def main() -> None:
        async with a_world(seed=seed) as world:
            world.base(Plan("/a", {"x": "base", "y": "base"}, fetch=Fetch(base_s)), Plan("/b", "base"))
            world.source.base_delay_s = 0.3
            world.connect()
            world.send("whole", Plan("/a", {"x": "live"}, fetch=Fetch(live_s, failures)))
            world.send("below", Plan("/b", "live"))
            await world.settled()
            assert {"a": {"x": "live"}, "b": "live"} == world.engine.documents
            base = [one.number for one in world.attempts if one.kind is peek.Kind.BASE]
            assert max(base) < min(one.number for one in world.attempts if one.kind is not peek.Kind.BASE)

    run(main, seed=seed)


@pytest.mark.parametrize(("resumed", "expected"), [(True, [2, 1, 3]), (False, [2, 2, 3])], ids=["resumed", "anew"])
def test_rule_10_a_reconnect_fetches_what_may_have_been_missed(resumed: bool, expected: list[int]) -> None:  # noqa: FBT001 - a table
    """All of it, or if nothing was missed what is periodic or has changed."""

    async def main() -> None:
        async with a_world() as world:
            world.base(Plan("/periodic", 1, fetch=Fetch(), every_s=50.0), Plan("/plain", 1, fetch=Fetch()))
            world.connect()
            await anyio.sleep(1)
            known = world.source.base.entries
            changed = world.entry(Plan("/new", 1, fetch=Fetch()), ["policy_data"])
            world.source.base = type(world.source.base)(entries=(*known, changed))
            world.connect(resumed=resumed)
            await anyio.sleep(1)
            tries = [world.fetcher.tries.get(entry.url, 0) for entry in world.source.base.entries]
            assert [expected[0], expected[1], 1] == tries

    run(main)


def test_rule_10_positions_are_acknowledged_in_order() -> None:
    """A source that can replay hears of a position when its update and all before it have ended."""

    async def main() -> None:
        source = ReplayingSource()
        source.acknowledged = []
        async with a_world(source=source) as world:
            world.connect()
            world.send("slow", Plan("/a", 1, fetch=Fetch(1.0)), position=1)
            world.send("quick", Plan("/b", 1), position=2)
            await anyio.sleep(0.5)
            assert [] == source.acknowledged
            await world.settled()
            assert 2 == source.acknowledged[-1]

    run(main)


def test_rule_10_a_change_of_the_log_while_a_commit_is_in_flight_is_kept() -> None:
    """Connected in the middle of a slow commit: the initial sources are waited for, and the agent gets ready."""

    async def main() -> None:
        async with a_world(store=lambda engine, tasks: ChaosStore(engine, tasks, latency_s=0.5)) as world:
            await anyio.sleep(3)
            world.send("before", Plan("/x", 1))
            await anyio.sleep(0.2)
            world.base(Plan("/a", 1, fetch=Fetch(3.0)))
            world.connect()
            await anyio.sleep(2.5)
            assert world.health["ready"] is False
            assert world.health["source_connected"] is True
            await world.settled()
            assert world.health["ready"] is True

    run(main)


# ------------------------------------------------------------------------------------------------ 11: a new life


@given(
    old=st.lists(st.sampled_from(["/a", "/a/x", "/b", "/c/d", "/c/e"]), min_size=1, max_size=4, unique=True),
    new=st.lists(st.sampled_from(["/a", "/a/x", "/b", "/c/d"]), max_size=3, unique=True),
    faults=st.dictionaries(st.integers(1, 20), st.sampled_from(FAULTS), max_size=2),
    seed=st.integers(0, 99),
)
def test_rule_11_a_new_life_leaves_no_ghost(old: list[str], new: list[str], faults: dict[int, str], seed: int) -> None:
    """What an earlier life wrote and nobody wrote again goes once this one is synced; `ready` only after that."""

    async def main() -> None:
        engine = MockEngine()
        async with a_world(engine=engine) as world:
            world.connect()
            for number, path in enumerate(sorted(old)):
                world.send(f"u{number}", Plan(path, {"from": "old"}))
            await world.settled()
        ghosts: list[Any] = []

        def landed(changes: Changes, late: bool) -> None:  # noqa: FBT001 - a callback's signature
            del changes
            if engine.get("/system/opal/ready") and "old" in str(engine.documents) and not late:
                ghosts.append(engine.documents)

        def store(engine: MockEngine, tasks: anyio.abc.TaskGroup) -> ChaosStore:
            return ChaosStore(engine, tasks, faults=faults, landed=landed)

        async with a_world(engine=engine, store=store, seed=seed) as world:
            world.base(*(Plan(path, {"from": "new"}, fetch=Fetch(0.5)) for path in sorted(new)))
            await anyio.sleep(0.1)
            assert faults or engine.get("/system/opal/ready") is False
            world.connect()
            await anyio.sleep(12)
            await world.settled()
            assert [] == ghosts
            assert "old" not in str(engine.documents)
            assert world.health["ready"] is True
            assert len(new) == str(engine.documents).count("new")

    run(main, seed=seed)


# ------------------------------------------------------------------------------------------------- 12: two lanes


def test_rule_12_policies_are_written_beside_data() -> None:
    """A policy write that hangs keeps no data waiting; only data below its own files are in order with it."""

    async def main() -> None:
        engine = MockEngine()
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1")

        class SlowPolicies(ChaosStore):
            async def commit(self, changes: Changes) -> CommitResult:
                if changes.guard is None:
                    await anyio.sleep(3)
                return await ChaosStore.commit(self, changes)

        async with a_world(engine=engine, source=source, store=SlowPolicies) as world:
            world.connect()
            await anyio.sleep(0.5)
            world.send("quick", Plan("/a", 1))
            took = await world.until(lambda: engine.get("/a") == 1, within_s=1)
            assert took < 0.1
            assert {} == engine.policies
            assert world.health["ready"] is False
            await world.settled()
            assert ["app.rego"] == list(engine.policies)
            assert world.health["ready"] is True

    run(main)


def test_rule_12_policies_are_asked_for_once_at_a_quiet_start() -> None:
    """And once more when the engine is back, for what came while it was away may have failed."""

    async def main() -> None:
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1")
        async with a_world(source=source) as world:
            # The engine is met before the source, as a rule.
            await anyio.sleep(1)
            world.connect()
            await world.settled()
            assert [None] == source.bundles_asked
            assert 1 == world.pipeline.log.policies.successful
            world.engine.lose_state()
            await world.settled()
            assert [None, "1"] == source.bundles_asked

    run(main)


def test_rule_12_a_data_file_that_is_no_json_is_left_out() -> None:
    """The rest of the bundle is in force, and what an earlier one had there stays until a bundle lacks the file."""

    async def main() -> None:
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1", ("d", "{no"), ("e", "1"))
        async with a_world(source=source) as world:
            world.connect()
            await world.settled()
            assert (True, True) == (world.health["ready"], world.health["healthy"])
            assert ["/d"] == [one["path"] for one in world.health["out_of_sync_paths"]]
            for name, text in (("2", '{"v": 2}'), ("3", "{no")):
                source.bundle = bundle(name, ("d", text), ("e", "1"))
                source.emit(PolicyChanged(name))
                await world.settled()
                assert {"d": {"v": 2}, "e": 1} == world.engine.documents
                assert {"app.rego": f"package app # {name}"} == world.engine.policies
                assert world.health["in_sync"] is (name == "2")
            source.bundle = bundle("4")
            source.emit(PolicyChanged("4"))
            await world.settled()
            assert {} == world.engine.documents
            assert world.health["in_sync"]

    run(main)


@given(faults=st.dictionaries(st.integers(4, 25), st.sampled_from(FAULTS), max_size=3), seed=st.integers(0, 99))
def test_rule_12_the_newest_policies_win(faults: dict[int, str], seed: int) -> None:
    """Differences one after the other, with lost answers and an engine that is emptied: the set is the last one."""

    async def main() -> None:
        engine = MockEngine()
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1", ("files", '{"v": 1}'), modules=("app", "old"))

        def store(engine: MockEngine, tasks: anyio.abc.TaskGroup) -> ChaosStore:
            return ChaosStore(engine, tasks, faults=faults)

        async with a_world(engine=engine, source=source, store=store, seed=seed) as world:
            world.connect()
            await anyio.sleep(1)
            source.bundle = bundle("2", ("files", '{"v": 2}'))
            source.emit(PolicyChanged("2"))
            await anyio.sleep(15)
            await world.settled()
            assert {"app.rego": "package app # 2"} == engine.policies
            assert {"v": 2} == engine.get("/files")
            assert world.health["ready"] is True

    run(main, seed=seed)


@pytest.mark.parametrize("folder", [".", "static", "static/below"])
def test_rule_12_base_data_that_a_file_of_the_policies_replaces_is_waited_for_no_longer(folder: str) -> None:
    """The newer document counts for an initial source that it covers; a part of it does not."""

    async def main() -> None:
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1", (folder, '{"from": "the repository"}'))
        async with a_world(source=source) as world:
            world.base(Plan("/static", {"a": 1}, fetch=Fetch(delay_s=2)))
            world.connect()
            await world.until(lambda: world.health.get("ready") is True, within_s=5)
            await world.settled()
            assert world.health["healthy"] is True

    run(main)


@pytest.mark.parametrize("folder", ["%ff", "/".join("d" * 200)])
def test_rule_12_a_folder_that_is_no_path_fails_the_bundle_alone(folder: str) -> None:
    """The error names it, the rest is in force, and the next bundle is taken."""

    async def main() -> None:
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1", (folder, "{}"), ("files", '{"v": 1}'))
        async with a_world(source=source) as world:
            world.connect()
            await world.settled()
            assert {"v": 1} == world.engine.get("/files")
            assert {"app.rego": "package app # 1"} == world.engine.policies
            assert "path" in world.health["last_failed_policy_transaction"]["error"]
            source.bundle = bundle("2", ("files", '{"v": 2}'))
            source.emit(PolicyChanged("2"))
            await world.until(lambda: world.engine.get("/files") == {"v": 2})

    run(main)


def test_rule_12_a_difference_whose_answer_was_lost_leaves_no_policy_behind() -> None:
    """What may have landed is replaced as a whole by what comes next."""

    async def main() -> None:
        engine = MockEngine()
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1")
        lossy = False

        class LossyPolicies(ChaosStore):
            async def commit(self, changes: Changes) -> CommitResult:
                result = await ChaosStore.commit(self, changes)
                lost = lossy and changes.guard is None
                return CommitResult.unknown(changes, TimeoutError()) if lost else result

        async with a_world(engine=engine, source=source, store=LossyPolicies) as world:
            world.connect()
            await world.settled()
            lossy = True
            source.bundle = bundle("2", old="1", modules=("extra",))
            source.emit(PolicyChanged("2"))
            await world.until(lambda: "extra.rego" in engine.policies)
            source.bundle = bundle("3", old="1")
            await anyio.sleep(6)
            lossy = False
            await anyio.sleep(40)
            assert {"app.rego": "package app # 3"} == engine.policies
            assert world.health["healthy"] is True

    run(main)


# --------------------------------------------------------------------------------------------------- 13: reports


@given(
    failures=st.lists(st.sampled_from([0, 0, 2, 3, 5]), min_size=1, max_size=4),
    down_s=st.sampled_from([0.0, 0.0, 3.0, 8.0]),
    receiver_failures=st.sampled_from([0, 0, 2]),
    seed=st.integers(0, 99),
)
def test_rule_13_one_report_and_one_follow_up(
    failures: list[int], down_s: float, receiver_failures: int, seed: int
) -> None:
    """One report when the update ends; one follow-up for its failed entries, when the last of them is settled."""

    async def main() -> None:
        async with a_world(seed=seed) as world:
            world.connect()
            await anyio.sleep(0.5)
            world.recorder.failures = receiver_failures
            if down_s:
                world.engine.go_down()
            plans = [Plan(f"/p{n}", n, fetch=Fetch(0.1, failures=count)) for n, count in enumerate(failures)]
            world.send("update", *plans)
            await anyio.sleep(down_s)
            world.engine.come_up()
            await world.settled()
            await anyio.sleep(10)
            (report,) = world.recorder.of("update")
            assert len(failures) == len(report.saved)
            missing = report.saved.count(False)
            follow_ups = world.recorder.of("update", follow_up=True)
            assert [[True] * missing] * (missing > 0) == [one.saved for one in follow_ups]
            assert {f"p{n}": n for n in range(len(failures))} == world.engine.documents

    run(main, seed=seed)


def test_rule_13_a_receiver_that_hangs_delays_no_update() -> None:
    """Delivery never blocks the pipeline."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.recorder.hangs = True
            for number in range(50):
                world.send(f"u{number}", Plan("/a", number))
                await anyio.sleep(0.01)
            assert 49 == world.engine.get("/a")

    run(main)


# ------------------------------------------------------------------------------------------------- 14: shutdown


@pytest.mark.parametrize("trouble", ["none", "engine hangs", "receiver hangs", "fetch hangs", "all"])
@pytest.mark.parametrize("commit_deadline_s", [5, 60])
def test_rule_14_shutdown_keeps_its_time_limits(trouble: str, commit_deadline_s: int) -> None:
    """What can be committed and reported is; 5 s for the last commit, 3 s for the last reports, and no more."""

    async def main() -> tuple[float, World]:
        async with a_world(
            store=lambda engine, tasks: ChaosStore(engine, tasks, latency_s=0.2),
            commit_deadline=timedelta(seconds=commit_deadline_s),
        ) as world:
            world.connect()
            await world.settled()
            if trouble in {"fetch hangs", "all"}:
                world.send("hung", Plan("/h", 1, fetch=HUNG))
            if trouble in {"engine hangs", "all"}:
                world.engine.hang()
            if trouble in {"receiver hangs", "all"}:
                world.recorder.hangs = True
            world.send("in flight", Plan("/a", 1))
            await anyio.sleep(0.1)
            world.send("queued", Plan("/b", 2))
            await anyio.sleep(0.05)
            world.stop()
            began = anyio.current_time()
            await world.ended.wait()
            return world.ended_at - began, world

    took, world = run(main)
    assert took <= 8.1
    if trouble in {"none", "fetch hangs"}:
        assert took < 1.5
        assert {"a": 1, "b": 2} == world.engine.documents
        assert [[True]] == [one.saved for one in world.recorder.of("queued")]


@given(stop_at=st.floats(0, 4), seed=st.integers(0, 99))
def test_rule_14_the_next_life_makes_up_for_what_was_dropped(stop_at: float, seed: int) -> None:
    """Stopped at any moment, an agent leaves an engine that the next life brings to where it should be."""

    async def main() -> None:
        engine = MockEngine()
        base = [Plan("/a", {"x": 1}, fetch=Fetch(0.5)), Plan("/b", 2)]
        async with a_world(
            engine=engine, store=lambda engine, tasks: ChaosStore(engine, tasks, latency_s=0.3), seed=seed
        ) as world:
            world.base(*base)
            world.connect()
            world.send("ghost", Plan("/ghost", 1))
            await anyio.sleep(stop_at)
        async with a_world(engine=engine, seed=seed) as world:
            world.base(*base)
            world.connect()
            await world.settled()
            assert {"a": {"x": 1}, "b": 2} == engine.documents
            assert world.health["ready"] is True

    run(main, seed=seed)


def test_healthy_turns_false_with_a_failure_and_true_with_the_next_success() -> None:
    """DESIGN section 4: the update with the highest number that has ended was fetched and saved."""

    async def main() -> None:
        async with a_world() as world:
            world.connect()
            world.send("good", Plan("/a", 1))
            await anyio.sleep(0.1)
            assert world.health["healthy"] is True
            world.send("bad", Plan("/a/x", 1))
            await anyio.sleep(0.1)
            assert world.health["healthy"] is False
            assert "bad" == world.health["last_failed_data_transaction"]["id"]
            assert "good" == world.health["last_data_transaction"]["id"]
            world.send("again", Plan("/b", 1))
            await anyio.sleep(0.1)
            assert world.health["healthy"] is True
            # No path waits for it, for it names none; it has failed all the same.
            world.send("nowhere", Plan("/%ff", 1))
            await anyio.sleep(0.1)
            assert world.health["healthy"] is False

    run(main)
