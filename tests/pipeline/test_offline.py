"""Offline mode: a restart serves the last known state, and catches up when the source is there again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from cabochon import Changes, CommitResult, ConfigurationError, Connected, Disconnected, Plugins, SourceEvent
from cabochon.agent.opening import open_agent
from cabochon.schemas import DataSourceConfig, PolicyBundle, RegoModule
from cabochon.settings.core import CoreSettings
from cabochon.sync.backup.store_backup import open_store_backup
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon.testing.in_process_source import InProcessSource
from cabochon_mock_store import MockEngine, MockPolicyStore
from cabochon_mock_store.listener import MockHealthListener

# The odd stores are tests themselves, and in no distribution.
from ..odd_stores.fact_set_store import Fact, FactSetEngine, OddFactStore  # noqa: TID252
from .conftest import HandSource, Running

POLICIES = {"a.rego": "package a", "b.rego": "package b"}


def bases(documents: dict[str, Any]) -> DataSourceConfig:
    entries = [{"url": "", "dst_path": path, "data": data} for path, data in documents.items()]
    return msgspec.json.decode(msgspec.json.encode({"entries": entries}), type=DataSourceConfig)


class WatchedStore(MockPolicyStore):
    """Looks, after each commit, at what a reader of the engine may hold against it."""

    def __init__(self, engine: MockEngine) -> None:
        super().__init__(engine)
        self.readiness: list[bool] = []

    async def commit(self, changes: Changes) -> CommitResult:
        result = await super().commit(changes)
        self.readiness.append(self.engine.get("/system/opal/ready") is True)
        return result


class DeltaSource(HandSource):
    """Gives differences, and remembers what it was asked."""

    def __init__(self, documents: dict[str, Any], policies: dict[str, str] | None = None) -> None:
        super().__init__()
        self.base = bases(documents)
        self.has_policies = True
        self.policies = dict(POLICIES if policies is None else policies)
        self.asked: list[str | None] = []
        self.followed = 0
        self.wrong_delta: PolicyBundle | None = None

    async def events(self) -> AsyncIterator[SourceEvent]:
        self.followed += 1
        async for event in super().events():
            yield event

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        self.asked.append(base_hash)
        if self.wrong_delta is not None and base_hash is not None:
            return self.wrong_delta
        return await super().policy_bundle(base_hash, directories)


@dataclass
class Life(Running):
    """One life of an agent with a backup; `kill` ends it as -9 would."""

    tasks: anyio.abc.TaskGroup
    store: WatchedStore

    async def saved(self) -> None:
        """Wait until everything so far is on disk."""
        metrics = self.pipeline.metrics
        await self.until(lambda: not metrics.gauges().get("store_backup.unsaved", 1), "nothing unsaved")
        # The one that is being written now counts as saved when the next one can begin.
        before = metrics.counters().get("store_backup.saved", 0)
        async with self.pipeline.policy_store.transaction_context("mark") as tx:
            await tx.set_policy_data(before, path="/mark")
        await self.until(lambda: metrics.counters().get("store_backup.saved", 0) > before, "a backup")
        await self.until(lambda: not metrics.gauges()["store_backup.unsaved"], "nothing unsaved")


@asynccontextmanager
async def living(
    engine: MockEngine, path: Path, source: HandSource, *, killed: bool = False, **wanted: Any
) -> AsyncGenerator[Life]:
    store = WatchedStore(engine)
    settings = CoreSettings.model_validate({"offline_mode_enabled": True, "probe_interval": 0.05, **wanted})
    async with open_store_backup(path, interval_s=0.01, store="MOCK") as backup:
        parts = PipelineParts(store=store, source=source, listeners={"health": MockHealthListener()}, backup=backup)
        pipeline = Pipeline(parts, settings)
        async with anyio.create_task_group() as tasks:
            await tasks.start(pipeline.run)
            yield Life(pipeline, source, engine, tasks, store)
            if killed:
                tasks.cancel_scope.cancel()
            else:
                pipeline.stop()
    source.close()


async def first_life(engine: MockEngine, path: Path, *, killed: bool = False) -> None:
    """An agent that has synced base data, policies and a live update."""
    async with living(engine, path, DeltaSource({"/users": {"bob": 1, "eve": 1}}), killed=killed) as life:
        await life.source.send.send(Connected())
        await life.until(lambda: engine.get("/system/opal/healthy"), "healthy")
        await life.publish("live", {"dst_path": "/grants/eve", "data": {"role": "admin"}})
        await life.ended("live")
        await life.saved()


@pytest.mark.parametrize("killed", [pytest.param(False, id="stopped"), pytest.param(True, id="killed")])
async def test_restart_without_the_source_serves_what_was_known(tmp_path: Path, killed: bool) -> None:  # noqa: FBT001 - pytest
    """
    An empty engine gets policies and documents back, and is ready; not healthy, for nobody knows what has changed.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path, killed=killed)
    engine = MockEngine()
    async with living(engine, path, DeltaSource({})) as life:
        await life.until(lambda: engine.get("/system/opal/ready"), "ready")

        assert POLICIES == dict(engine.policies)
        assert {"bob": 1, "eve": 1} == engine.documents["users"]
        assert {"eve": {"role": "admin"}} == engine.documents["grants"]
        assert engine.get("/system/opal/healthy") is False
        assert engine.get("/system/opal/source_connected") is False
        # Ready came last.
        assert life.store.readiness == sorted(life.store.readiness)


async def test_source_that_comes_back_is_caught_up_with(tmp_path: Path) -> None:
    """
    What was revoked meanwhile is gone, what an earlier life left is gone, and `ready` was never false on the way.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path)
    engine = MockEngine()
    source = DeltaSource({"/users": {"bob": 2}}, {"a.rego": "package a", "c.rego": "package c"})
    async with living(engine, path, source) as life:
        await life.until(lambda: engine.get("/system/opal/ready"), "ready")
        del life.store.readiness[:]
        await source.send.send(Connected())
        await life.until(lambda: engine.get("/system/opal/healthy"), "healthy")
        await life.until(lambda: not engine.get("/grants"), "no ghost")

        assert {"bob": 2} == engine.documents["users"]
        assert {"users"} == {key for key, value in engine.documents.items() if value != {}}
        assert source.policies == dict(engine.policies)
        assert all(life.store.readiness)
        assert source.asked[0] is not None
        await life.saved()
    async with living(MockEngine(), path, DeltaSource({})) as life:
        await life.until(lambda: life.engine.get("/system/opal/ready"), "ready")
        assert {"users", "mark"} == life.engine.documents.keys()


async def test_unchanged_policies_of_a_backup_count_as_synced(tmp_path: Path) -> None:
    """
    A source that has nothing newer than the backup's hash says so, and that is enough for healthy.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path)
    async with living(MockEngine(), path, DeltaSource({"/users": {"bob": 1}})) as life:
        await life.source.send.send(Connected())
        await life.until(lambda: life.engine.get("/system/opal/healthy"), "healthy")
        assert POLICIES == dict(life.engine.policies)


async def test_write_inside_a_backed_up_document_outlives_it(tmp_path: Path) -> None:
    """
    A document of an earlier life goes; what this life wrote inside it stays.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path)
    engine = MockEngine()
    async with living(engine, path, DeltaSource({"/users": {"bob": 1}})) as life:
        await life.until(lambda: engine.get("/system/opal/ready"), "ready")
        async with life.pipeline.policy_store.transaction_context("mine") as tx:
            await tx.set_policy_data(30, path="/grants/eve/age")
        assert {"role": "admin", "age": 30} == engine.get("/grants/eve")
        await life.source.send.send(Connected())
        await life.until(lambda: engine.get("/system/opal/healthy"), "healthy")

        await life.until(lambda: engine.get("/grants/eve") == {"age": 30}, "no ghost")


async def test_engine_that_is_newer_than_the_backup_wins(tmp_path: Path) -> None:
    """
    A grant that was revoked just before a crash, too late for the backup, does not come back from it.
    """
    path, older = tmp_path / "backup.db", tmp_path / "older.db"
    engine = MockEngine()
    async with living(engine, path, DeltaSource({"/users": {"bob": 1, "eve": 1}}), killed=True) as life:
        await life.source.send.send(Connected())
        await life.until(lambda: engine.get("/system/opal/healthy"), "healthy")
        await life.publish("granted", {"dst_path": "/grants/eve", "data": "admin"})
        await life.ended("granted")
        await life.saved()
        shutil.copy(path, older)
        await life.publish("revoked", {"dst_path": "/users", "data": {"bob": 1}})
        await life.publish("added", {"dst_path": "/grants/bob", "data": "guest"})
        await life.ended("added")
        async with life.pipeline.policy_store.transaction_context("mine") as tx:
            await tx.delete_policy_data("/grants/eve")
    seen: list[object] = []
    engine.reject_data = seen.append
    async with living(engine, older, DeltaSource({})) as life:
        await life.until(lambda: engine.get("/system/opal/ready"), "ready")

        assert {"bob": 1} == engine.get("/users")
        assert {"bob": "guest"} == engine.get("/grants")
        assert not [change for change in seen if "eve" in str(change)]


async def test_backup_of_a_start_that_was_not_complete_is_not_ready(tmp_path: Path) -> None:
    """
    What was there is served, and nothing claims that it is all; the source is followed though it should be left alone.
    """
    path = tmp_path / "backup.db"
    async with living(MockEngine(), path, DeltaSource({}), killed=True) as life:
        async with life.pipeline.policy_store.transaction_context("mine") as tx:
            await tx.set_policy_data(1, path="/mine")
        await life.saved()
    engine, source = MockEngine(), DeltaSource({})
    async with living(engine, path, source, default_connectivity_disabled=True) as life:
        await life.until(lambda: "mine" in engine.documents, "what was known")
        assert engine.get("/system/opal/ready") is False
        assert not life.pipeline.connectivity.disabled
        await life.until(lambda: source.followed, "the source is followed")


async def test_start_without_the_source_can_be_asked_for(tmp_path: Path) -> None:
    """
    With a complete backup the agent leaves its source alone until it is let in.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path)
    engine, source = MockEngine(), DeltaSource({"/users": {"bob": 2}})
    async with living(engine, path, source, default_connectivity_disabled=True) as life:
        await life.until(lambda: engine.get("/system/opal/ready"), "ready")
        assert (True, 0, []) == (life.pipeline.connectivity.disabled, source.followed, source.asked)
        await life.pipeline.connectivity.enable()
        await source.send.send(Connected())
        await life.until(lambda: engine.get("/users") == {"bob": 2}, "caught up")


async def test_fifty_reconnects_never_cost_ready(tmp_path: Path) -> None:
    """
    Base data and policies are fetched again each time; no reader ever sees an agent that is not ready.
    """
    engine, source = MockEngine(), DeltaSource({"/users": {"n": 0}})
    async with living(engine, tmp_path / "backup.db", source) as life:
        await source.send.send(Connected())
        await life.until(lambda: engine.get("/system/opal/healthy"), "healthy")
        del life.store.readiness[:]
        for number in range(1, 51):
            source.base = bases({"/users": {"n": number}})
            source.policies = {**POLICIES, "n.rego": f"package n{number}"}
            await source.send.send(Disconnected("gone"))
            await source.send.send(Connected())
            await life.until(lambda wanted=number: engine.get("/users/n") == wanted, "the new base data")
            await life.until(lambda: dict(engine.policies) == source.policies, "the new policies")

    assert len(life.store.readiness) > 100
    assert all(life.store.readiness)


async def test_difference_to_other_policies_is_not_applied(tmp_path: Path) -> None:
    """
    A difference to another base than the one that was asked with would leave a mixture: everything is asked for.
    """
    engine, source = MockEngine(), DeltaSource({})
    async with living(engine, tmp_path / "backup.db", source) as life:
        await source.send.send(Connected())
        await life.until(lambda: engine.get("/system/opal/healthy"), "healthy")
        base = source.asked[-1] or life.pipeline.log.policies.last
        assert base is not None
        module = RegoModule(path="x.rego", package_name="x", rego="package x")
        source.wrong_delta = PolicyBundle(
            manifest=("x.rego",), hash="new", old_hash="another", data_modules=(), policy_modules=(module,)
        )
        source.policies = {"a.rego": "package new"}
        await source.send.send(Connected())
        await life.until(lambda: dict(engine.policies) == {"a.rego": "package new"}, "all of it")

    assert [None, None] == [asked for asked in source.asked if asked is None]


async def test_file_that_can_not_be_written_stops_the_start(tmp_path: Path) -> None:
    """
    In one line that names the variable.
    """
    (tmp_path / "file").write_text("")
    settings = CoreSettings.model_validate(
        {
            "offline_mode_enabled": True,
            "store_backup_path": tmp_path / "file" / "backup.db",
            "policy_store_type": "MOCK",
            "update_source": "local",
        }
    )
    source = InProcessSource()
    with pytest.raises(ConfigurationError, match="OPAL_STORE_BACKUP_PATH"):
        async with open_agent(Plugins.load(), settings, source=source):
            pass


async def test_damaged_backup_is_moved_aside(tmp_path: Path) -> None:
    """
    One clear line, the file is kept under another name, and the agent goes on without it.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path)
    whole = path.read_bytes()
    path.write_bytes(damaged := whole[:4096] + bytes(len(whole) - 4096))
    with capture_logs() as events:
        async with open_store_backup(path, interval_s=1, store="MOCK"):
            pass

    (event,) = [event for event in events if event["event"] == "store_backup.unusable"]
    assert ("error", str(path)) == (event["log_level"], event["path"])
    assert damaged == await anyio.Path(event["moved_to"]).read_bytes()


async def test_file_of_somebody_else_stops_the_start(tmp_path: Path) -> None:
    """
    It is named, and left where it is.
    """
    path = tmp_path / "backup.db"
    path.write_bytes(b"no backup " * 1000)
    with pytest.raises(ConfigurationError, match=r"OPAL_STORE_BACKUP_PATH=.*something else"):
        async with open_store_backup(path, interval_s=1, store="MOCK"):
            pass

    assert b"no backup " * 1000 == path.read_bytes()


async def test_backup_of_another_store_is_moved_aside(tmp_path: Path) -> None:
    """
    Documents and policies of one engine are nothing that another one should be filled with.
    """
    path = tmp_path / "backup.db"
    await first_life(MockEngine(), path)
    with capture_logs() as events:
        async with open_store_backup(path, interval_s=1, store="OPENFGA"):
            pass

    assert ["store_backup.unusable"] == [event["event"] for event in events if event["log_level"] == "error"]


@pytest.mark.parametrize("gone", ["/b", "/a", "/"])
async def test_backup_knows_which_facts_an_earlier_life_left(tmp_path: Path, gone: str) -> None:
    """
    An engine of facts does not say whose they are: what a path owned before, and does not now, goes all the same.
    What this life wrote below it stays.
    """
    facts = FactSetEngine({fact("other")})

    @asynccontextmanager
    async def a_life(documents: dict[str, Any]) -> AsyncGenerator[Running]:
        settings = CoreSettings.model_validate({"offline_mode_enabled": True, "probe_interval": 0.05})
        source = HandSource()
        source.base = bases(documents)
        async with open_store_backup(tmp_path / "store.db", interval_s=0.01, store="ODD") as backup:
            pipeline = Pipeline(PipelineParts(store=OddFactStore(facts), source=source, backup=backup), settings)
            async with anyio.create_task_group() as tasks:
                await tasks.start(pipeline.run)
                await source.send.send(Connected())
                yield Running(pipeline, source, MockEngine())
                pipeline.stop()
        source.close()

    async with a_life({gone: [fact("eve")], "/a/x": [fact("ann"), fact("bob")]}) as first:
        await first.until(lambda: first.pipeline.log.ready, "ready")
        assert facts.facts == {fact("ann"), fact("bob"), fact("eve"), fact("other")}
    async with a_life({"/a/x": [fact("ann"), fact("cid")]}) as second:
        await second.until(lambda: second.pipeline.log.synced, "synced")
        await second.until(lambda: facts.facts == {fact("ann"), fact("cid"), fact("other")}, "bob and eve are gone")


def fact(user: str) -> Fact:
    return user, "reads", "plan"
