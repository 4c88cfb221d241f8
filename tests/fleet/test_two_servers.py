"""Two servers that share a backbone: one is killed, the backbone goes away and comes back, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from .clients import Publishers, Subscriber
from .conftest import SharedBackbone
from .server_process import ServerProcess
from .test_server_killed import all_told

UPDATES = 1_200


@pytest.mark.timeout(240)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_fleet_outlives_a_server_and_a_restart_of_its_backbone(backbone: SharedBackbone, tmp_path: Path) -> None:
    """
    Whoever was with the killed server goes to the other one, and is told there what it missed.
    """
    shared = {"OPAL_BROADCAST_URI": backbone.url}
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with ServerProcess(folders[0], shared) as one, ServerProcess(folders[1], shared) as other:
        await one.start()
        await other.start()
        subscribers = [
            Subscriber("of-one", [one.url, other.url]),
            Subscriber("of-other", [other.url, one.url]),
            Subscriber("of-one-alone", [one.url]),
        ]
        publishers = Publishers([one.url, other.url], UPDATES)
        async with anyio.create_task_group() as tasks:
            for subscriber in subscribers:
                tasks.start_soon(subscriber.run)
            for subscriber in subscribers:
                await subscriber.subscribed.wait()
            tasks.start_soon(publishers.run, 6)
            await publishers.until(UPDATES // 4)
            one.kill()
            await publishers.until(UPDATES // 2)
            await to_thread.run_sync(backbone.stop)
            await to_thread.run_sync(backbone.start)
            await publishers.until(3 * UPDATES // 4)
            await one.start()
            await publishers.until(UPDATES)
            await all_told(subscribers, publishers)
            tasks.cancel_scope.cancel()
    assert len(publishers.acknowledged) > UPDATES // 2
    assert subscribers[0].resumed
    assert subscribers[2].resumed
