"""Play a scenario and compare what comes out with the model; look at every commit that the engine sees."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any, Self

import anyio

from cabochon.documents.json_values import decode, encode
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import DocumentPathError, PatchFailedError, PathConflictError
from cabochon.schemas import DataUpdate, PolicyBundle, RegoModule
from cabochon.sync.rules.update import EntryState, Kind
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeleteData,
    PatchData,
    ReplacePolicies,
    SetData,
    SetPolicy,
    Write,
)
from cabochon_mock_store.engine import MockEngine

from . import model, peek
from .scenarios import TOPICS, Reconnect, Scenario, Send, Trouble
from .virtual import BrokenPromiseError, run
from .world import TOPIC, ChaosStore, ScriptedSource, World, a_world

IN_FORCE = {EntryState.SAVED, EntryState.PUT_OFF}
BAD = b'"bad"'
RECOVERY = {"restore", "rewrite", "earlier-life"}
POLICY = "package app\n\nallow := true\n"


def veto(change: Change) -> str | None:
    """Refuse what is bad, as an engine may do from some day on."""
    if isinstance(change, SetData):
        values = [change.value] if change.path[:1] != ("system",) else []
    else:
        values = [operation.value for operation in change.operations] if isinstance(change, PatchData) else []
    return "it is bad" if any(BAD in (value or b"") for value in values) else None


def without(tree: dict[str, Any], paths: Iterable[DocumentPath]) -> dict[str, Any]:
    """Leave out what is at these paths."""
    for path in paths:
        tree = model.delete(tree, path)
    return tree


def expected(
    attempts: list[peek.Attempt], *, wiped: bool, not_restored: Iterable[DocumentPath] = (), strict: bool = False
) -> dict[str, Any]:
    """Apply what was saved, one write after the other in order of arrival; what was refused must be refusable.

    `not_restored` are paths whose documents the engine did not take back at some time, `strict` an engine that may
    refuse what is bad.
    """
    tree: dict[str, Any] = {}
    taken_back: list[DocumentPath] = []
    for attempt in sorted(attempts, key=lambda one: one.number):
        for outcome in attempt.outcomes:
            if outcome.in_force:
                tree = _written(tree, outcome)
            elif outcome.taken_back:
                assert strict, f"{outcome} was refused by an engine that refuses nothing"
                taken_back.append(outcome.path)
            elif outcome.state is EntryState.REFUSED:
                if not _in_the_way(taken_back, outcome):
                    _check_refusal(tree, outcome, wiped=wiped, not_restored=not_restored, strict=strict)
            elif outcome.state is EntryState.MOOT:
                _check_superseded(attempts, attempt, outcome)
            else:
                assert outcome.state is EntryState.FETCH_FAILED, f"{attempt} has ended with {outcome.state}"
    return tree


def _written(tree: dict[str, Any], outcome: peek.Outcome) -> dict[str, Any]:
    if outcome.method == "PATCH":
        after = model.patched(tree, outcome.path, outcome.operations)
    elif outcome.method == "DELETE":
        after = model.delete(tree, outcome.path)
    else:
        value = decode(outcome.raw or b"")
        if value.__class__ is list and not outcome.path:
            value = {"items": value}
        after = model.put(tree, outcome.path, value)
    if after.__class__ is not dict:
        raise model.RefusedError("the root is an object")
    return after


def _in_the_way(taken_back: Iterable[DocumentPath], outcome: peek.Outcome) -> bool:
    """Tell whether it did not apply to what was put off before it and is refused since."""
    does_not_apply = isinstance(outcome.error, PatchFailedError | PathConflictError)
    return does_not_apply and any(path.overlaps(outcome.path) for path in taken_back)


def _check_refusal(
    tree: dict[str, Any], outcome: peek.Outcome, *, wiped: bool, not_restored: Iterable[DocumentPath], strict: bool
) -> None:
    if outcome.path[:1] == ("system",) or outcome.raw is None:
        return
    if outcome.method == "PATCH" and not outcome.operations:
        return
    if any(path.covers(outcome.path) for path in not_restored) and "does not hold" in str(outcome.error):
        return
    try:
        after = _written(tree, outcome)
    except model.RefusedError:
        return
    # An engine sees the steps of a patch: what is bad may be moved, and be gone in the end.
    if strict and any(BAD.decode() in encode(one).decode() for one in (tree, after)):
        return
    # An engine that was filled again has none of the empty objects that deletions leave behind.
    if wiped and outcome.method == "PATCH":
        try:
            _written(model.pruned(without(tree, not_restored)), outcome)
        except model.RefusedError:
            return
    raise AssertionError(f"{outcome} was refused, and applies to {tree}")


def _check_superseded(attempts: list[peek.Attempt], attempt: peek.Attempt, outcome: peek.Outcome) -> None:
    assert any(
        newer.replaces and newer.state in {*IN_FORCE, EntryState.MOOT} and newer.path.covers(outcome.path)
        for other in attempts
        for newer in other.outcomes
        if other.origin > attempt.origin or other is attempt
    ), f"{outcome} was dropped, and nothing newer covers it"


class Watch:
    """Sees every commit at the moment it lands."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.lost_state = False
        self.strict = False
        self.not_restored: set[DocumentPath] = set()
        self.sent_again: set[str | None] = set()
        """Ids of updates that came more than once."""
        self._markers: set[Any] = set()
        self._open: list[Write] = []
        self._ended_before: dict[Write, int] = {}
        self._unsure = False
        self._mixed_up = False

    def landed(self, changes: Changes, late: bool) -> None:  # noqa: FBT001 - a callback's signature
        """Look at a commit; `late`: the core has given it up."""
        try:
            self._check(changes, late=late)
        except (AssertionError, model.RefusedError) as err:
            raise BrokenPromiseError(str(err) or traceback.format_exc(limit=-1)) from err

    def _check(self, changes: Changes, *, late: bool) -> None:
        world = self.world
        if world is not None:
            self.not_restored.update(peek.desired(world.pipeline).not_restored)
        if world is None or changes.guard is None:
            for write in changes.writes:
                assert all(isinstance(change, SetPolicy | ReplacePolicies) for change in write.changes)
            return
        health = world.health
        self._check_guard(changes, health)
        if late:
            return
        assert health["healthy"] <= health["ready"]
        assert health["in_sync"] is (health["out_of_sync_paths"] == [])
        self._check_news(world, changes, health)
        self._take_down(world, changes)
        if health["ready"] and not self._unsure and not self._mixed_up:
            self._check_ready(world)

    def _check_guard(self, changes: Changes, health: dict[str, Any]) -> None:
        guard = changes.guard
        assert guard is not None
        if guard.expects is None:
            assert not health["ready"], "a commit without condition left an engine ready"
            assert not changes.writes, "a commit without condition wrote data"
            return
        assert guard.leaves not in self._markers, "two commits left the same marker"
        self._markers.add(guard.leaves)

    def _check_news(self, world: World, changes: Changes, health: dict[str, Any]) -> None:
        """New data come with new health."""
        singles = [write for write in changes.writes if write.transaction_id in world.sent]
        if singles:
            known = peek.log_of(world.pipeline)
            counts = health["transaction_data_statistics"]
            assert counts["successful"] > known.data.successful, "new data with old health"
        if all(write.transaction_id not in RECOVERY for write in changes.writes):
            assert len(changes.writes) <= 500

    def _take_down(self, world: World, changes: Changes) -> None:
        """Keep the writes of updates that have not ended: this commit's, and those of a group that was split."""
        self._open = [write for write in self._open if self._ended_before[write] == _endings(world, write)]
        # An engine that is filled again need not hold what landed and was never answered, until that has ended.
        emptied = changes.guard is not None and changes.guard.expects is None
        self._unsure = bool(self._open) and (self._unsure or emptied)
        # Which of several arrivals of one update a write is from, and so when that has ended, can't be told.
        of_several = any(write.transaction_id in self.sent_again for write in (*self._open, *changes.writes))
        self._mixed_up = of_several or (self._mixed_up and world.pipeline.under_way.updates > 0)
        for write in changes.writes:
            if write.transaction_id not in RECOVERY:
                self._ended_before[write] = _endings(world, write)
                self._open.append(write)

    def _check_ready(self, world: World) -> None:
        """An engine that says it is ready holds all that ended, and what this commit brings."""
        not_restored = peek.desired(world.pipeline).not_restored
        self.not_restored.update(not_restored)
        base = [DocumentPath.parse(entry.dst_path) for entry in world.source.base.entries]
        assert not any(path.overlaps(place) for path in not_restored for place in base), (
            "ready, and base data are missing"
        )
        tree = expected(world.attempts, wiped=self.lost_state, not_restored=self.not_restored, strict=self.strict)
        for write in self._open:
            for change in write.changes:
                tree = _changed(tree, change)
        # What is not restored may be on its way back.
        held = model.pruned(without(world.engine.documents, not_restored))
        assert model.pruned(without(tree, not_restored)) == held, "ready, and something is missing or stale"


def _endings(world: World, write: Write) -> int:
    return sum(attempt.id == write.transaction_id for attempt in world.attempts)


def _changed(tree: dict[str, Any], change: Change) -> dict[str, Any]:
    match change:
        case SetData(path, value):
            return model.put(tree, path, decode(value))
        case DeleteData(path):
            return model.delete(tree, path)
        case PatchData(path, operations):
            return model.patched(tree, path, operations)
        case _:
            raise AssertionError(f"{change} in the data lane")


class Play:
    """One scenario from beginning to end."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.watch = Watch()
        self.arrived: list[DataUpdate] = []
        self.emptied = False

    async def __call__(self) -> Self:
        scenario = self.scenario
        engine = MockEngine()
        engine.blames = scenario.blames
        source = ScriptedSource(topics=TOPICS, has_policies=scenario.policies)
        if scenario.policies:
            source.bundle = PolicyBundle(
                manifest=("app.rego",),
                hash="1",
                data_modules=(),
                policy_modules=(RegoModule(path="app.rego", package_name="app", rego=POLICY),),
            )

        def store(engine: MockEngine, tasks: anyio.abc.TaskGroup) -> ChaosStore:
            return ChaosStore(
                engine, tasks, latency_s=scenario.latency_s, faults=scenario.faults, landed=self.watch.landed
            )

        async with a_world(engine=engine, store=store, source=source, seed=scenario.seed) as world:
            self.world = self.watch.world = world
            self.watch.lost_state = bool(scenario.faults)
            self.watch.strict = any(isinstance(event, Trouble) and event.kind == "strict" for event in scenario.events)
            world.base(*scenario.base)
            world.connect()
            for event in sorted(scenario.events, key=lambda event: event.at):
                await anyio.sleep_until(event.at)
                self._happen(event)
            await anyio.sleep(8)
            engine.come_up()
            if isinstance(world.store, ChaosStore):
                world.store.faults.clear()
            await world.settled()
            self._check_end()
        return self

    def _happen(self, event: Send | Reconnect | Trouble) -> None:
        match event:
            case Send():
                self._send(event)
            case Reconnect():
                self.world.connect(resumed=event.resumed)
            case Trouble():
                self.watch.lost_state = True
                self.world.tasks.start_soon(self._trouble, event)

    def _send(self, event: Send) -> None:
        world = self.world
        topics = TOPICS if event.both_topics else (TOPIC,)
        if event.again is not None and self.arrived:
            update = self.arrived[event.again % len(self.arrived)]
            self.watch.sent_again.add(update.id)
            self.arrived.append(update)
            world.publish(update, topics)
            return
        name = f"u{len(self.arrived)}"
        if len(event.plans) == 1:
            world.sent.append(name)
        update = DataUpdate(id=name, entries=tuple(world.entry(plan, TOPICS) for plan in event.plans))
        self.arrived.append(update)
        world.publish(update, topics)

    async def _trouble(self, event: Trouble) -> None:
        engine = self.world.engine
        match event.kind:
            case "emptied":
                engine.lose_state()
            case "wiped":
                engine.wipe()
            case "strict":
                engine.reject_data = veto
            case "lenient":
                engine.reject_data = None
            case "down":
                engine.go_down()
                await anyio.sleep(event.for_s)
                engine.come_up()
            case _:
                engine.hang()
                await anyio.sleep(event.for_s)
                engine.come_up()

    # --------------------------------------------------------------------------------------------------- the end

    def _check_end(self) -> None:
        world = self.world
        watch = self.watch
        not_restored = peek.desired(world.pipeline).not_restored
        watch.not_restored.update(not_restored)
        assert watch.strict or not watch.not_restored
        tree = expected(world.attempts, wiped=watch.lost_state, not_restored=watch.not_restored, strict=watch.strict)
        held = model.pruned(without(tree, not_restored))
        assert held == model.pruned(world.engine.documents), "the engine does not hold what the model holds"
        wanted = model.pruned(peek.desired_documents(world.pipeline))
        assert model.pruned(tree) == wanted, "the desired state is not the engine's"
        assert "desired_state.diverged" not in world.pipeline.metrics.snapshot()
        base = [DocumentPath.parse(plan.path) for plan in self.scenario.base]
        lacking = any(path.overlaps(place) for path in not_restored for place in base)
        assert world.health["ready"] is (self._base_synced() and not lacking)
        self._check_out_of_sync({str(path) for path in not_restored})
        if self.scenario.policies:
            assert {"app.rego": POLICY} == world.engine.policies
        self._check_nothing_lost()
        self._check_reports()

    def _base_synced(self) -> bool:
        """Every initial data source has landed once, or something newer that covers it."""
        base = sorted((one for one in self.world.attempts if one.kind is Kind.BASE), key=lambda one: one.number)
        landed = [
            (one.origin, outcome.path)
            for one in self.world.attempts
            for outcome in one.outcomes
            if outcome.replaces and outcome.in_force
        ]
        return all(
            any(origin >= one.origin and path.covers(one.outcomes[0].path) for origin, path in landed)
            for one in base[: len(self.scenario.base)]
        )

    def _check_out_of_sync(self, not_restored: set[str]) -> None:
        """Out of sync is what the engine does not take back, and what failed and was not made up for."""
        failed: dict[DocumentPath, int] = {}
        attempts = self.world.attempts
        for attempt in attempts:
            # What a retry writes comes after all that failed with its first try.
            newer = attempt.origin + (attempt.kind is Kind.RETRY)
            for outcome in attempt.outcomes:
                if outcome.in_force:
                    failed = {path: n for path, n in failed.items() if not _makes_up(outcome, attempt, path, n, newer)}
            for place, outcome in enumerate(attempt.outcomes):
                if _is_missing(outcome, attempt.outcomes[place + 1 :]):
                    failed[outcome.path] = max(attempt.origin, failed.get(outcome.path, 0))
        missing = {
            str(path)
            for path, n in failed.items()
            if not any(
                one.in_force and one.replaces and attempt.origin > n and one.path.covers(path)
                for attempt in attempts
                for one in attempt.outcomes
            )
        }
        told = {one["path"] for one in self.world.health["out_of_sync_paths"]}
        assert missing | not_restored == told, f"{missing} and {not_restored} are missing, and {told} are out of sync"

    def _check_nothing_lost(self) -> None:
        live = sorted((one for one in self.world.attempts if one.kind is Kind.LIVE), key=lambda one: one.number)
        assert [update.id for update in self.arrived] == [one.id for one in live], "lost, twice, or out of order"
        for attempt in self.world.attempts:
            for place, outcome in enumerate(attempt.outcomes):
                if outcome.state is EntryState.FETCH_FAILED:
                    self._check_made_up_for(attempt, place, outcome)

    def _check_made_up_for(self, attempt: peek.Attempt, place: int, failed: peek.Outcome) -> None:
        """A failed fetch was tried again until its data came, or something newer covers it."""
        settled = {*IN_FORCE, EntryState.MOOT, EntryState.REFUSED}
        for other in self.world.attempts:
            if other.kind is Kind.RETRY and other.origin == attempt.origin and other.number > attempt.number:
                (again,) = other.outcomes
                if again.path == failed.path and again.method == failed.method and again.state in settled:
                    return
            later = other.outcomes[place + 1 :] if other is attempt else other.outcomes
            if other is attempt or other.origin > attempt.origin:
                for newer in later:
                    if newer.replaces and newer.state in settled and newer.path.covers(failed.path):
                        return
        raise AssertionError(f"{failed} of {attempt} was never tried again until it landed")

    def _check_reports(self) -> None:
        recorder = self.world.recorder
        for name in {update.id for update in self.arrived}:
            sendings = [one for one in self.world.attempts if one.kind is Kind.LIVE and one.id == name]
            reports = recorder.of(name)
            assert len(sendings) == len(reports), f"{len(reports)} reports on {len(sendings)} arrivals of {name}"
            told = sorted(tuple(one.saved) for one in reports)
            assert told == sorted(tuple(_saved(one, outcome) for outcome in one.outcomes) for one in sendings)
            follow_ups = recorder.of(name, follow_up=True)
            assert len(follow_ups) <= len(sendings), f"too many follow-ups for {name}"
            self._check_follow_up(sendings, [entry for one in follow_ups for entry in one.saved])

    def _check_follow_up(self, sendings: list[peek.Attempt], told: list[bool | None]) -> None:
        failed = [outcome for one in sendings for outcome in one.outcomes if not _saved(one, outcome)]
        waiting = [outcome for outcome in failed if outcome.state is EntryState.REFUSED or outcome.taken_back]
        assert len(told) <= len(failed)
        if not waiting and not any(isinstance(outcome.error, PatchFailedError) for outcome in failed):
            refused_later = [
                one
                for one in self.world.attempts
                if one.kind is Kind.RETRY and one.id in {sending.id for sending in sendings}
                if one.outcomes[0].state is EntryState.REFUSED or one.outcomes[0].taken_back
            ]
            if not refused_later:
                assert len(told) == len(failed), f"{told} follows up on {failed}"


def _makes_up(outcome: peek.Outcome, attempt: peek.Attempt, path: DocumentPath, number: int, newer: int) -> bool:
    if not outcome.replaces:
        return outcome.path == path and attempt.origin == number < newer
    return outcome.path.covers(path) and newer > number


def _is_missing(outcome: peek.Outcome, later: tuple[peek.Outcome, ...]) -> bool:
    """It should have been written, was not, and nothing later in its update made it moot."""
    if not outcome.taken_back and outcome.state not in {EntryState.REFUSED, EntryState.FETCH_FAILED}:
        return False
    return not isinstance(outcome.error, DocumentPathError) and not any(
        one.replaces and one.state in IN_FORCE and one.path.covers(outcome.path) for one in later
    )


def _saved(attempt: peek.Attempt, outcome: peek.Outcome) -> bool:
    """The engine holds it, or something newer that covers it."""
    later = attempt.outcomes[attempt.outcomes.index(outcome) + 1 :]
    return outcome.state in {EntryState.SAVED, EntryState.MOOT} or any(
        outcome.state is not EntryState.PUT_OFF
        and one.replaces
        and one.state is EntryState.SAVED
        and one.path.covers(outcome.path)
        for one in later
    )


def play(scenario: Scenario) -> Play:
    """Play a scenario under the virtual clock and check everything."""
    return run(Play(scenario), seed=scenario.seed)


__all__ = ["ROOT", "DocumentPath", "Play", "Watch", "expected", "play"]
