"""DESIGN rules 6, 8 and 9, where the engine says no: once it is back, when it is filled, or to a listener alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from cabochon.contract.transaction_listener import TransactionListener
from cabochon.contract.update_source import PolicyChanged
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError, StoreUnavailableError
from cabochon.sync.rules.update import EntryState
from cabochon.transactions.changes import Change, Changes, Marker, SetData
from cabochon.transactions.commit_result import STATE, Blame, CommitResult, Refused
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.listener import MockHealthListener
from cabochon_mock_store.store import MockPolicyStore

# The odd stores are tests themselves, and in no distribution.
from ..odd_stores.fact_set_store import FactSetEngine, OddFactStore  # noqa: TID252
from . import model, peek
from .checks import veto
from .test_rules_engine import bundle
from .virtual import run
from .world import ChaosStore, Fetch, Plan, ScriptedSource, World, a_world

GOOD, BAD = {"v": "good"}, {"v": "bad"}
ADDS_BAD = [{"op": "add", "path": "/w", "value": "bad"}]
TOLD = {"engine.lost", "engine.state_lost", "commit.retried", "commit.unanswered"}


def out_of_sync(world: World) -> dict[str, str]:
    return {one["path"]: one["reason"] for one in world.health["out_of_sync_paths"]}


async def change_policies(world: World, name: str) -> None:
    world.source.bundle = bundle(name)
    world.source.emit(PolicyChanged(name))
    await world.settled()


# -------------------------------------------------------------------------------------- refused after an outage


@pytest.mark.parametrize("emptied", [False, True], ids=["intact", "emptied"])
@pytest.mark.parametrize(
    "plans",
    [
        pytest.param([Plan("/a", BAD)], id="same path"),
        pytest.param([Plan("/a/v", "bad")], id="descendant"),
        pytest.param(
            [Plan("/a", GOOD), Plan("/a", [{"op": "add", "path": "/w", "value": "bad"}], "PATCH")], id="patch"
        ),
        pytest.param([Plan("/", {"a": GOOD, "c": "bad"})], id="root"),
        pytest.param([Plan("/a", {}, "PUT"), Plan("/a/x", 1), Plan("/a", BAD)], id="several"),
        pytest.param([Plan("/deep", BAD)], id="ancestor"),
        pytest.param([Plan("/deep/b", BAD), Plan("/deep", {}), Plan("/deep/b", "bad")], id="up and down"),
        pytest.param([Plan("/new", "bad")], id="new"),
    ],
)
def test_rule_08_what_is_refused_after_an_outage_leaves_what_was_there(plans: list[Plan], emptied: bool) -> None:  # noqa: FBT001 - a table
    """It is out of sync for the engine's reason; what was in force before the outage is in force again."""

    async def main() -> None:
        async with a_world(source=ScriptedSource(has_policies=True)) as world:
            world.source.bundle = bundle("1")
            world.connect()
            world.send("before", Plan("/a", {"x": 0}), Plan("/deep/b", 1), Plan("/deep/c/d", 2))
            await world.settled()
            world.source.bundle = None
            world.engine.go_down()
            for number, plan in enumerate(plans):
                world.send(f"u{number}", plan)
            world.send("other", Plan("/other", "good"))
            await world.until(lambda: peek.away(world.pipeline) and len(world.attempts) >= len(plans) + 2)
            await anyio.sleep(10)
            if emptied:
                world.engine.lose_state()
            world.engine.reject_data = veto
            world.engine.come_up()
            await world.settled()
            before = {"a": {"x": 0}, "deep": {"b": 1, "c": {"d": 2}}}
            lands = "/" not in {plan.path for plan in plans}
            assert before | ({"other": "good"} if lands else {}) == world.engine.documents
            refused = {plan.path for plan in plans}.union(() if lands else ("/other",))
            assert refused == set(out_of_sync(world))
            assert all("it is bad" in reason for reason in out_of_sync(world).values())
            assert not any(world.recorder.of(f"u{number}", follow_up=True) for number in range(len(plans)))
            world.engine.reject_data = None
            await change_policies(world, "2")
            puts = [number for number, plan in enumerate(plans) if plan.method == "PUT"]
            assert all([[True]] == [r.saved for r in world.recorder.of(f"u{n}", follow_up=True)] for n in puts)
            documents = model.pruned(world.engine.documents)
            assert documents == model.pruned(peek.desired_documents(world.pipeline)) != before

    run(main)


def test_rule_09_a_source_that_was_dropped_for_a_write_refused_later_is_not_synced() -> None:
    """Nothing of an initial source's path is in force: the agent is not ready, whatever was put off instead of it."""

    async def main() -> None:
        async with a_world() as world:
            world.base(Plan("/a", GOOD, fetch=Fetch(2)), Plan("/b", 1))
            await anyio.sleep(0.5)
            world.engine.go_down()
            world.connect()
            await anyio.sleep(0.2)
            world.send("newer", Plan("/a", BAD))
            await world.until(lambda: len(world.attempts) == 3)
            assert EntryState.MOOT in {world.attempts[n].outcomes[0].state for n in range(3)}
            world.engine.reject_data = veto
            world.engine.come_up()
            await world.until(lambda: world.engine.documents == {"b": 1})
            await anyio.sleep(60)
            assert {"b": 1} == world.engine.documents
            assert world.health["ready"] is False

    run(main)


def test_rule_08_memory_of_what_was_before_is_bounded_by_the_data() -> None:
    """Whatever is put off, only what was there before is kept, and no longer than the outage."""

    async def main() -> None:
        async with a_world(should_report_on_data_updates=False) as world:
            world.connect()
            world.send("before", *(Plan(f"/a/k{number}", 0) for number in range(10)))
            await world.settled()
            world.engine.go_down()
            for number in range(2_000):
                world.send(f"u{number}", Plan(f"/a/k{number % 10}" if number % 3 else "/a", number % 7))
            await world.until(lambda: world.pipeline.under_way.updates == 0 and len(world.attempts) == 2_001)
            assert 11 >= peek.kept(world.pipeline)
            world.engine.come_up()
            await world.settled()
            assert 0 == peek.kept(world.pipeline)

    run(main)


def test_rule_08_facts_that_are_refused_after_an_outage_leave_those_before() -> None:
    """An engine that can't tell whether it was emptied, and judges only when it is back."""

    async def main() -> None:
        facts = FactSetEngine()
        async with a_world(store=lambda _engine, _tasks: OddFactStore(facts), listeners={}) as world:
            world.connect()
            world.send("before", Plan("/a", [["ann", "reads", "plan"]]), Plan("/a/x", [["bob", "reads", "plan"]]))
            await world.settled()
            before = set(facts.facts)
            facts.up = False
            world.send("bad", Plan("/a", {"no": "facts"}))
            await world.until(lambda: any(one.id == "bad" for one in world.attempts))
            facts.up = True
            await world.settled()
            assert before == facts.facts
            assert [DocumentPath(("a",))] == list(peek.log_of(world.pipeline).out_of_sync)

    run(main)


# ------------------------------------------------------------------------------------------- not taken back


@pytest.mark.parametrize("mended_by", ["policies", "a newer PUT", "another loss"])
def test_rule_09_a_document_that_is_not_taken_back_keeps_the_agent_from_being_ready(mended_by: str) -> None:
    """It is out of sync; `ready` comes back with it, or with something newer in its place."""

    async def main() -> None:
        async with a_world(source=ScriptedSource(has_policies=True)) as world:
            world.source.bundle = bundle("1")
            world.base(Plan("/a", BAD), Plan("/b", 1))
            world.connect()
            await world.settled()
            assert world.health["ready"] is True
            world.engine.reject_data = veto
            world.engine.lose_state()
            await world.settled()
            assert {"b": 1} == world.engine.documents
            assert world.health["ready"] is False
            assert ["/a"] == list(out_of_sync(world))
            assert "it is bad" in out_of_sync(world)["/a"]
            world.send("below", Plan("/a/w", 2))
            await world.settled()
            assert {"b": 1} == world.engine.documents
            assert EntryState.REFUSED is world.attempt("below").outcomes[0].state
            expected: dict[str, Any] = {"a": BAD, "b": 1}
            if mended_by == "a newer PUT":
                expected["a"] = GOOD
                world.send("newer", Plan("/a", GOOD))
            elif mended_by == "policies":
                expected["a"] = {**BAD, "w": 2}
                world.engine.reject_data = None
                await change_policies(world, "2")
            else:
                world.engine.reject_data = None
                world.engine.lose_state()
                await anyio.sleep(2)
                expected["a"] = {**BAD, "w": 2}
            await world.settled()
            assert expected == world.engine.documents
            assert ({}, True) == (out_of_sync(world), world.health["ready"])

    run(main)


# -------------------------------------------------------------------------------------- refused for a listener


NONSENSE = SetData(DocumentPath(("system", "culprit")), b'"nonsense"')


class Culprit(TransactionListener):
    """Writes what the engine below takes against."""

    owned_paths = (NONSENSE.path,)

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        del records, log
        return [NONSENSE]


class LandsFirst(ChaosStore):
    """Lands the data and the marker, then what the listeners add: each for itself, as an engine of policies may."""

    blames = False

    async def commit(self, changes: Changes) -> CommitResult:
        guilty = [number for number, change in enumerate(changes.state) if change == NONSENSE]
        if not guilty:
            return await ChaosStore.commit(self, changes)
        data = Changes(changes.writes, (), changes.guard, changes.claims, changes.releases)
        result = await ChaosStore.commit(self, data)
        if not result.landed:
            return result
        refusal = Refused(StoreRejectedError("it does not compile"))
        return CommitResult(result.outcomes, state=refusal, blame=Blame(STATE, guilty[0]) if self.blames else None)


@pytest.mark.parametrize("blames", [False, True])
@pytest.mark.parametrize("late", [False, True], ids=["from the start", "later"])
def test_rule_04_data_that_landed_without_a_listeners_part_are_applied_once(blames: bool, late: bool) -> None:  # noqa: FBT001 - a table
    """They count as saved; the listener is named, and the state is written without it."""

    async def main() -> list[Any]:
        structlog.reset_defaults()
        written: list[str] = []

        def landed(changes: Changes, late: bool) -> None:  # noqa: FBT001 - a callback's signature
            assert not late
            written.extend(write.transaction_id for write in changes.writes)

        def store(engine: MockEngine, tasks: anyio.abc.TaskGroup) -> MockPolicyStore:
            opened = LandsFirst(engine, tasks, landed=landed)
            opened.blames = blames
            return opened

        class Later(Culprit):
            def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
                return super().committing(records, log) if not late or log.data.successful else ()

        listeners = {"health": MockHealthListener(), "culprit": Later()}
        with capture_logs() as events:
            async with a_world(store=store, listeners=listeners) as world:
                world.connect()
                if late:
                    await world.settled()
                for number in range(3):
                    world.send(f"u{number}", Plan("/a/l" if number else "/a", {"l": []} if not number else [number]))
                world.send("patch", Plan("/a", [{"op": "add", "path": "/l/-", "value": 9}], "PATCH"))
                await world.settled()
                assert {"a": {"l": [2, 9]}} == world.engine.documents
                assert ["u0", "u1", "u2", "patch"] == [name for name in written if name != "restore"]
                assert all([[True]] == [one.saved for one in world.recorder.of(name)] for name in ("u0", "u1", "patch"))
                assert world.health["healthy"] is True
                assert 4 == world.health["transaction_data_statistics"]["successful"]
                assert "engine.state_lost" not in world.pipeline.metrics.snapshot()
        return [one["listener"] for one in events if one["event"] == "transaction_listener.quarantined"]

    assert ["culprit"] == run(main)


# --------------------------------------------------------------------------------------------- found in time


@pytest.mark.parametrize("trouble", ["down", "hangs", "emptied", "wiped"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("commit_deadline_s", [5, 60])
def test_rule_09_trouble_is_logged_within_five_seconds(trouble: str, busy: bool, commit_deadline_s: int) -> None:  # noqa: FBT001 - a table
    """Idle or in the middle of a stream of updates, and whatever the deadline of a commit; and soon it is over."""

    async def main() -> None:
        structlog.reset_defaults()
        source = ScriptedSource(has_policies=True)
        source.bundle = bundle("1")
        async with a_world(source=source, commit_deadline=timedelta(seconds=commit_deadline_s)) as world:
            world.connect()
            await world.settled()
            world.tasks.start_soon(_publish, world, busy)
            await anyio.sleep(1.5)
            with capture_logs() as events:
                _break(world.engine, trouble)
                if busy:
                    # A large commit may take longer than its deadline.
                    world.send("large", *(Plan(f"/large/k{number}", "x" * 500_000) for number in range(20)))
                await world.until(lambda: any(one["event"] in TOLD for one in events), within_s=5)
                await anyio.sleep(75 if trouble in {"down", "hangs"} else 0)
                world.engine.come_up()
                await world.until(lambda: not peek.away(world.pipeline), within_s=2.1)
                await world.until(lambda: world.health.get("ready") is True, within_s=2.1)

    run(main)


def _break(engine: MockEngine, trouble: str) -> None:
    match trouble:
        case "down":
            engine.go_down()
        case "hangs":
            engine.hang()
        case "emptied":
            engine.lose_state()
        case _:
            engine.wipe()


async def _publish(world: World, busy: bool) -> None:  # noqa: FBT001 - a task's argument
    for number in range(2_000 if busy else 0):
        world.send(f"u{number}", Plan(f"/s/k{number % 50}", number))
        await anyio.sleep(0.01)


class Deaf(MockPolicyStore):
    """Never answers a question that was asked while it was deaf, or says at once that there is no connection."""

    deaf = "hangs"

    async def _heard(self) -> None:
        if self.deaf == "hangs":
            await anyio.sleep_forever()
        if self.deaf:
            raise StoreUnavailableError("no connection")

    async def restart_token(self) -> str:
        await self._heard()
        return await super().restart_token()

    async def commit(self, changes: Changes) -> CommitResult:
        await self._heard()
        return await super().commit(changes)

    async def read_marker(self) -> Marker | None:
        await self._heard()
        return await super().read_marker()


@pytest.mark.parametrize("how", ["hangs", "refuses connections"])
def test_rule_09_an_engine_that_is_not_there_at_the_start_is_logged_and_found(how: str) -> None:
    """Within five seconds; and it is filled about two seconds after it came, though it never answers what was asked."""

    async def main() -> None:
        structlog.reset_defaults()
        engine = MockEngine()
        store = Deaf(engine)
        store.deaf = how
        with capture_logs() as events:
            async with a_world(engine=engine, store=lambda _engine, _tasks: store) as world:
                world.connect()
                await world.until(lambda: any(one["event"] == "engine.not_there" for one in events), within_s=5)
                for pause in (20, 33.3, 41.7):
                    await anyio.sleep(pause)
                    store.deaf = ""
                    await world.until(lambda: world.health.get("ready") is True, within_s=2.1)
                    engine.lose_state()
                    store.deaf = how
                store.deaf = ""
        assert 1 == sum(one["event"] == "engine.not_there" for one in events)

    run(main)
