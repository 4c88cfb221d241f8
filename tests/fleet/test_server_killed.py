"""A server that is killed while updates are published: what it acknowledged reaches everyone, in order, once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from random import Random

import anyio
import pytest

from .clients import Publishers, Subscriber
from .server_process import PATIENCE_S, ServerProcess

UPDATES = int(os.environ.get("FLEET_UPDATES") or 3_000)
KILLS = int(os.environ.get("FLEET_KILLS") or 5)
SUBSCRIBERS = 3


@pytest.mark.timeout(60 + UPDATES * 0.05)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_acknowledged_updates_outlive_every_kill(tmp_path: Path) -> None:
    """
    FLEET_UPDATES=50000 FLEET_KILLS=20 is a long run; FLEET_SEED repeats the moments of the kills.
    """
    seed = int(os.environ.get("FLEET_SEED") or Random().randrange(1_000_000))  # noqa: S311 - no secret
    sys.stderr.write(f"FLEET_SEED={seed}\n")
    moments = sorted(Random(seed).sample(range(UPDATES // 20, UPDATES), KILLS))  # noqa: S311 - no secret
    with ServerProcess(tmp_path) as server:
        await server.start()
        subscribers = [Subscriber(f"agent-{turn}", [server.url]) for turn in range(SUBSCRIBERS)]
        publishers = Publishers([server.url], UPDATES)
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for one in subscribers:
                tasks.start_soon(one.run)
            for one in subscribers:
                await one.subscribed.wait()
            tasks.start_soon(publishers.run, 8)
            for moment in moments:
                await publishers.until(moment)
                server.kill()
                await server.start()
            await publishers.until(UPDATES)
            await all_told(subscribers, publishers)
            tasks.cancel_scope.cancel()
    sys.stderr.write(
        f"{len(publishers.acknowledged)} acknowledged, {publishers.unsure} not, {server.lives - 1} kills, "
        f"{sum(one.resumed for one in subscribers)} resumed, {time.monotonic() - began:.0f} s\n"
    )
    assert KILLS + 1 == server.lives
    assert len(publishers.acknowledged) > UPDATES * 0.9
    assert all(one.resumed for one in subscribers)


async def all_told(subscribers: list[Subscriber], publishers: Publishers) -> None:
    """Wait until everyone has what was acknowledged, and see that nothing came twice or out of order."""
    for one in subscribers:
        with anyio.move_on_after(PATIENCE_S):
            while not publishers.acknowledged.keys() <= one.told.keys():  # noqa: ASYNC110 - what a peer was told, which has no event
                await anyio.sleep(0.05)
        missing = sorted(publishers.acknowledged.keys() - one.told.keys())
        assert ([], []) == (missing[:20], one.faults[:5])
        assert publishers.acknowledged == {number: one.told[number] for number in publishers.acknowledged}
        assert len(set(one.told.values())) == len(one.told), "an update came under two numbers"
