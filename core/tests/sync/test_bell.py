"""A bell: no ring is lost, whoever waits or does not."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from cabochon.sync.bell import Bell


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Trio with a clock that jumps to the next thing to happen."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_ring_wakes_who_waits() -> None:
    """
    Whoever waits goes on when it rings, and not before.
    """
    bell, began = Bell(), anyio.current_time()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ring_after, bell, 3.0)
        assert await bell.answered()

    assert anyio.current_time() - began == 3.0


async def test_ring_while_nobody_waits_is_kept_and_several_are_one() -> None:
    """
    Work that arrives while its task is busy is looked at next, once.
    """
    bell = Bell()
    bell.ring()
    bell.ring()

    assert await bell.answered(within_s=1)
    assert not await bell.answered(within_s=1)


async def test_no_ring_in_time() -> None:
    """
    Whoever waits for no longer than a while is told that nothing came; the next ring is heard as ever.
    """
    bell, began = Bell(), anyio.current_time()

    assert not await bell.answered(within_s=2)
    assert anyio.current_time() - began == 2.0
    bell.ring()
    assert await bell.answered()


async def test_ring_is_kept_though_there_is_no_time_to_wait() -> None:
    """
    A wait of nothing takes what is there.
    """
    bell = Bell()

    assert not await bell.answered(within_s=0)
    bell.ring()
    assert await bell.answered(within_s=0)


async def test_ring_wakes_all_who_wait() -> None:
    """
    Each of several who wait hears of it, and one that gives up takes nothing from the others.
    """
    bell = Bell()
    heard: list[tuple[str, bool]] = []

    async def wait(name: str, within_s: float) -> None:
        heard.append((name, await bell.answered(within_s=within_s)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "impatient", 1.0)
        tasks.start_soon(wait, "one", 9.0)
        tasks.start_soon(wait, "other", 9.0)
        tasks.start_soon(_ring_after, bell, 2.0)

    assert heard[0] == ("impatient", False)
    assert sorted(heard[1:]) == [("one", True), ("other", True)]
    assert not bell.taken()


async def test_ring_between_a_ring_and_the_slower_of_two_is_kept() -> None:
    """
    The first of two who were woken rings again: the second does not take that ring along with its own.
    """
    bell = Bell()
    heard: list[str] = []

    async def wait(name: str) -> None:
        assert await bell.answered()
        if not heard:
            bell.ring()
        heard.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "one")
        tasks.start_soon(wait, "other")
        tasks.start_soon(_ring_after, bell, 1.0)

    assert len(heard) == 2
    assert bell.taken()


@pytest.mark.parametrize("rung_before", [True, False])
async def test_cancelled_wait_takes_no_ring(*, rung_before: bool) -> None:
    """
    A ring that was there before the wait is cancelled, or that comes after it, is for the next one who waits.
    """
    bell = Bell()
    if rung_before:
        bell.ring()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await bell.answered()
    if not rung_before:
        bell.ring()

    assert scope.cancelled_caught
    assert await bell.answered(within_s=1)


async def test_ring_is_taken_without_waiting() -> None:
    """
    What a ring was for may have been dealt with in another way.
    """
    bell = Bell()

    assert not bell.taken()
    bell.ring()
    assert bell.taken()
    assert not await bell.answered(within_s=1)


async def _ring_after(bell: Bell, wait_s: float) -> None:
    await anyio.sleep(wait_s)
    bell.ring()
