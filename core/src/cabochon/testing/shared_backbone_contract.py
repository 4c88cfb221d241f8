"""What a backbone that several servers share must do, as tests that its author runs by subclassing."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio
import pytest
from anyio import to_thread

from cabochon.contract.backbone import Backbone, Bounds, LogRecord, Retention
from cabochon.errors import BackboneError
from cabochon.testing._log_records import PROMPT_S, Opened, data, followed, numbers, read_all
from cabochon.testing.backbone_contract import BackboneContract
from cabochon.urls import masked_url

__all__ = ["Restartable", "SharedBackboneContract"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restartable:
    """What keeps the log, as a process that the test may kill.

    Attributes:
        url: where it is.
        opened: opens a log in it that is new to the test, and the same again with each call.
        stop: kills it.
        start: starts it again, with all that is on its disk, and waits until it answers.
    """

    url: str
    opened: Opened
    stop: Callable[[], None]
    start: Callable[[], None]


class SharedBackboneContract(BackboneContract):
    """What a backbone of several servers must do beyond that: each opening stands for a server.

    Subclass it and provide `restartable`, besides what `BackboneContract` wants.
    """

    @pytest.fixture
    def restartable(self) -> Restartable:
        """What keeps the log, for this test alone; set up to have on disk what it acknowledges."""
        raise NotImplementedError("return a Restartable that runs")

    async def test_servers_hear_of_each_other(self, opened: Opened) -> None:
        """
        Two servers append at the same time: both get all of it, in one order, under the same numbers.
        """
        async with opened() as one, opened() as other:
            assert one.log_id == other.log_id
            results: list[list[LogRecord]] = []

            async def append(backbone: Backbone, name: str) -> None:
                for turn in range(100):
                    await backbone.append(data(f"{name}-{turn}-a", f"{name}-{turn}-b"))

            async def follow(backbone: Backbone) -> None:
                results.append(await followed(backbone, 0, 400))

            async with anyio.create_task_group() as tasks:
                for backbone, name in ((one, "one"), (other, "other")):
                    tasks.start_soon(follow, backbone)
                    tasks.start_soon(append, backbone, name)

            assert results[0] == results[1]
            assert list(range(1, 401)) == numbers(results[0])
            for name in ("one", "other"):
                mine = [record.body.decode() for record in results[0] if record.body.startswith(name.encode() + b"-")]
                assert [f"{name}-{turn}-{part}" for turn in range(100) for part in "ab"] == mine

    async def test_one_servers_housekeeping_is_the_others(self, opened: Opened) -> None:
        """
        What one server compacts, trims or saves, the other finds so; doing it again changes nothing.
        """
        async with opened() as one, opened() as other:
            await one.append(data("a", "b", "c"))
            await other.compact({2: 3})
            await one.compact({2: 3})
            assert [1, 3] == numbers(await read_all(one))
            await anyio.sleep(0.05)
            assert Bounds(3, 3) == await one.trim(Retention(max_age_s=0.0))
            assert Bounds(3, 3) == await other.trim(Retention(max_age_s=0.0))
            await one.save_documents({"agent": b"1"})
            await other.save_documents({"agent": b"2"})
            assert {"agent": b"2"} == await one.documents()
            assert [4] == list(await other.append(data("d")))
            assert [b"d"] == [record.body for record in await followed(one, 3, 4)]

    async def test_restarted_keeper_goes_on(self, restartable: Restartable) -> None:
        """
        Kill -9 of what keeps the log: who follows and who appends hear of it, and go on with it once it is back.
        """
        async with restartable.opened() as backbone:
            log_id = backbone.log_id
            await backbone.append(data("a", "b"))
            async with aclosing(backbone.follow(1)) as batches:
                assert [2] == numbers(await anext(batches))
                await to_thread.run_sync(restartable.stop)
                with pytest.raises(BackboneError), anyio.fail_after(2 * PROMPT_S):
                    await anext(batches)
            unreachable = f"{re.escape(masked_url(restartable.url))} can't be reached"
            for call in (backbone.append(data("lost")), backbone.bounds(), backbone.documents()):
                with pytest.raises(BackboneError, match=unreachable):
                    await call
            await to_thread.run_sync(restartable.start)
            assert [3] == list(await backbone.append(data("c")))
            assert log_id == backbone.log_id
            assert [2, 3] == numbers(await followed(backbone, 1, 3))

    async def test_killed_keeper_loses_nothing_acknowledged(self, restartable: Restartable) -> None:
        """
        What was acknowledged is there after each kill -9, under its number.
        """
        acknowledged: dict[int, bytes] = {}

        async def append(backbone: Backbone, name: str, enough: anyio.Event) -> None:
            count = 0
            while True:
                (record,) = data(f"{name}-{count}")
                try:
                    (number,) = await backbone.append([record])
                except BackboneError:
                    return
                acknowledged[number] = record.body
                count += 1
                if count == 100:
                    enough.set()

        async with restartable.opened() as backbone:
            for turn in range(3):
                enough = anyio.Event()
                async with anyio.create_task_group() as tasks:
                    for task in range(8):
                        tasks.start_soon(append, backbone, f"{turn}-{task}", enough)
                    await enough.wait()
                    await to_thread.run_sync(restartable.stop)
                await to_thread.run_sync(restartable.start)
            found = {record.number: record.body for record in await read_all(backbone)}

        assert list(range(1, len(found) + 1)) == list(found)
        assert acknowledged == {number: found.get(number) for number in acknowledged}
