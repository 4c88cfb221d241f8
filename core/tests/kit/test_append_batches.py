"""Appends of many tasks in few writes."""

from collections.abc import Sequence

import anyio
import pytest

from cabochon import BackboneError, LogReplacedError
from cabochon.kit.append_batches import AppendBatches


class Disk:
    """Writes when it is let; notes what each write held."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.gate = anyio.Event()
        self.begun = anyio.Event()
        self.fails: list[BackboneError | None] = []

    async def write(self, items: Sequence[str]) -> int:
        self.begun.set()
        await self.gate.wait()
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        self.writes.append(list(items))
        return sum(map(len, self.writes)) - len(items) + 1


async def test_appends_share_a_write_in_their_order() -> None:
    """
    The first is written at once, those that come meanwhile together, each with its own numbers.
    """
    disk = Disk()
    batches = AppendBatches(disk.write)
    got: dict[str, list[int]] = {}

    async def append(items: str) -> None:
        got[items] = list(await batches.append(items, len(items)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, "a")
        await disk.begun.wait()
        for items in ("bc", "d", "efg"):
            tasks.start_soon(append, items)
            await anyio.wait_all_tasks_blocked()
        disk.gate.set()

    assert [["a"], ["b", "c", "d", "e", "f", "g"]] == disk.writes
    assert {"a": [1], "bc": [2, 3], "d": [4], "efg": [5, 6, 7]} == got


@pytest.mark.parametrize("bound", [{"most": 3}, {"most_bytes": 3}], ids=["items", "bytes"])
async def test_write_is_bounded(bound: dict[str, int]) -> None:
    """
    A write takes what fits, and at least one append; the next takes the rest.
    """
    disk = Disk()
    batches = AppendBatches(disk.write, **bound)

    async with anyio.create_task_group() as tasks:
        for items in ("a", "bc", "d", "efgh", "i"):
            tasks.start_soon(batches.append, items, len(items))
            await anyio.wait_all_tasks_blocked()
        disk.gate.set()

    assert ["a", "bcd", "efgh", "i"] == ["".join(items) for items in disk.writes]


async def test_failed_write_is_each_appends_failure() -> None:
    """
    All whose records were in it hear so, with the kind of the error; the next write is a new chance.
    """
    disk = Disk()
    batches = AppendBatches(disk.write)
    failed: list[str] = []

    async def append(items: str) -> None:
        with pytest.raises(LogReplacedError, match="wiped"):
            await batches.append(items, 1)
        failed.append(items)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(batches.append, "a", 1)
        await disk.begun.wait()
        for items in ("b", "c"):
            tasks.start_soon(append, items)
        await anyio.wait_all_tasks_blocked()
        disk.fails = [None, LogReplacedError("wiped")]
        disk.gate.set()

    assert [["a"]] == disk.writes
    assert ["b", "c"] == sorted(failed)
    assert [2] == list(await batches.append("d", 1))


async def test_cancelled_appends_hold_up_nobody() -> None:
    """
    One that is cancelled while it waits is not written; one that is cancelled as it writes fails for all in that write.
    """
    disk = Disk()
    batches = AppendBatches(disk.write)
    first, second = anyio.CancelScope(), anyio.CancelScope()
    told: list[str] = []

    async def append(items: str, scope: anyio.CancelScope) -> None:
        with scope:
            await batches.append(items, 1)

    async def fail(items: str) -> None:
        with pytest.raises(BackboneError, match="cancelled"):
            await batches.append(items, 1)
        told.append(items)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, "a", first)
        await disk.begun.wait()
        tasks.start_soon(append, "b", second)
        await anyio.wait_all_tasks_blocked()
        second.cancel()
        await anyio.wait_all_tasks_blocked()
        disk.gate.set()
    assert [["a"]] == disk.writes

    disk.gate = anyio.Event()
    first, third = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, "c", first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(append, "d", third)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(fail, "e")
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        third.cancel()
        await anyio.wait_all_tasks_blocked()
        disk.gate.set()
    assert ["e"] == told
    assert [2] == list(await batches.append("f", 1))


async def test_append_is_cancelled_though_another_write_took_it_along() -> None:
    """
    The caller goes, the write goes on: it can't be called back.
    """
    disk = Disk()
    scopes: dict[int, anyio.CancelScope] = {}
    writers: list[int] = []

    async def write(items: Sequence[str]) -> int:
        writers.append(anyio.get_current_task().id)
        return await disk.write(items)

    batches = AppendBatches(write)

    async def append(item: str) -> None:
        with anyio.CancelScope() as scope:
            scopes[anyio.get_current_task().id] = scope
            await batches.append(item, 1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, "a")
        tasks.start_soon(append, "b")
        await disk.begun.wait()
        (waits,) = (scope for task, scope in scopes.items() if task not in writers)
        waits.cancel()
        await anyio.wait_all_tasks_blocked()
        disk.gate.set()

    assert [False, True] == sorted(scope.cancelled_caught for scope in scopes.values())
    assert ["a", "b"] == sorted(item for write in disk.writes for item in write)
