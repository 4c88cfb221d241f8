"""Cut off from the update source, and let in again, while the agent runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from anyio.lowlevel import checkpoint

from cabochon import Connected, PolicyChanged, SourceError, SourceEvent
from cabochon.schemas import DataSourceConfig, PolicyBundle
from cabochon.sync.intake.connectivity import Connectivity

from .conftest import HandSource, Start, base_data


class CountingSource(HandSource):
    """Connects by itself when it is followed again, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.followed = 0
        self.closed = 0
        self.asked_for_data = 0
        self.asked_for_policies = 0
        self.base = base_data("/users", {"bob": 1}, every_s=0.1)

    async def events(self) -> AsyncIterator[SourceEvent]:
        self.followed += 1
        try:
            if self.followed > 1:
                yield Connected()
            async for event in super().events():
                yield event
        finally:
            self.closed += 1

    async def data_sources(self) -> DataSourceConfig:
        self.asked_for_data += 1
        return await super().data_sources()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        self.asked_for_policies += 1
        return await super().policy_bundle(base_hash, directories)


async def test_switch_tells_whether_it_changed_anything() -> None:
    """
    `disable` and `enable` are idempotent and say so.
    """
    connectivity = Connectivity(offline_mode=True)

    assert (False, True) == (connectivity.disabled, connectivity.offline_mode)
    assert [False, True, False] == [
        await connectivity.enable(),
        await connectivity.disable(),
        await connectivity.disable(),
    ]
    assert connectivity.disabled
    assert [True, False] == [await connectivity.enable(), await connectivity.enable()]
    assert not connectivity.disabled


async def test_work_under_way_is_over_when_disable_returns() -> None:
    """
    Whoever was told that the agent is cut off can rely on it.
    """
    connectivity = Connectivity()
    cleaned_up = False

    async def work() -> None:
        nonlocal cleaned_up
        with connectivity.scope():
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await checkpoint()
                cleaned_up = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        await connectivity.disable()
        assert cleaned_up


async def test_cut_off_agent_leaves_its_source_alone(start: Start) -> None:
    """
    The source is closed and not asked again; the engine keeps what it has, and takes what callers write.
    """
    async with start(source=CountingSource, policies={"a.rego": "package a"}) as running:
        source = running.source
        assert isinstance(source, CountingSource)
        await running.until(lambda: running.engine.get("/system/opal/healthy"), "healthy")
        assert await running.pipeline.connectivity.disable()

        asked = (source.asked_for_data, source.asked_for_policies, source.followed)
        assert 1 == source.closed
        await running.pipeline.refresh_policies()
        with pytest.raises(SourceError, match="disabled"):
            await running.pipeline.refresh_data()
        async with running.pipeline.policy_store.transaction_context("mine") as tx:
            await tx.set_policy_data({"x": 1}, path="/mine")
        await running.until(lambda: running.engine.get("/system/opal/source_connected") is False, "the truth")
        running.engine.lose_state()
        await running.until(lambda: running.engine.get("/system/opal/ready"), "restored without the source")
        assert {"users": {"bob": 1}, "mine": {"x": 1}} == running.engine.documents
        assert asked == (source.asked_for_data, source.asked_for_policies, source.followed)


async def test_agent_that_is_let_in_again_catches_up(start: Start) -> None:
    """
    Policies and base data that changed meanwhile are there after the next connection, and `ready` was never false.
    """
    async with start(source=CountingSource, policies={"a.rego": "package a"}) as running:
        source = running.source
        assert isinstance(source, CountingSource)
        await running.until(lambda: running.engine.get("/system/opal/healthy"), "healthy")
        await running.pipeline.connectivity.disable()
        source.policies = {"a.rego": "package changed"}
        source.base = base_data("/users", {"bob": 2})
        await source.send.send(PolicyChanged())
        assert await running.pipeline.connectivity.enable()

        await running.until(lambda: running.engine.documents == {"users": {"bob": 2}}, "the new data")
        await running.until(lambda: running.engine.policies == source.policies, "the new policies")
        await running.until(lambda: running.engine.get("/system/opal/source_connected"), "connected")
        assert 2 == source.followed
