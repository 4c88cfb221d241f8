"""What a backbone that several servers share must do, as tests that its author runs by subclassing."""

from __future__ import annotations

import anyio

from cabochon.backbone import Backbone, Bounds, LogRecord, Retention
from cabochon.testing._log_records import Opened, data, followed, numbers, read_all
from cabochon.testing.backbone_contract import BackboneContract

__all__ = ["SharedBackboneContract"]


class SharedBackboneContract(BackboneContract):
    """What a backbone of several servers must do beyond that: each opening stands for a server."""

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
