"""What every backbone must do, as tests that its author runs by subclassing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import pytest

from cabochon.contract.backbone import Backbone, BackboneType, Bounds, LogRecord, NewRecord, Retention
from cabochon.errors import LogTrimmedError
from cabochon.testing._contract import Contract
from cabochon.testing._log_records import PROMPT_S, Opened, data, followed, numbers, read_all
from cabochon.testing._watch import Watch

__all__ = ["BackboneContract", "Opened", "data", "followed", "read_all"]


class BackboneContract(Contract):
    """What every backbone must do; subclass it and provide `backbone_type` and `opened`.

    Example:
        >>> class TestMyLog(BackboneContract):
        ...     @pytest.fixture
        ...     def backbone_type(self):
        ...         return next(iter(cabochon_backbones()))
        ...
        ...     @pytest.fixture
        ...     def opened(self, tmp_path):
        ...         return lambda: open_my_log(tmp_path / "log")
    """

    @pytest.fixture
    def backbone_type(self) -> BackboneType:
        """The registration that the plugin offers."""
        raise NotImplementedError("return the BackboneType under test")

    @pytest.fixture
    def opened(self) -> Opened:
        """Opens a log that is new to the test, and the same again with each call."""
        raise NotImplementedError("return a function that opens the log")

    @pytest.fixture
    async def backbone(self, opened: Opened) -> AsyncGenerator[Backbone]:
        """The log, open."""
        async with opened() as backbone:
            yield backbone

    # ------------------------------------------------------------------------------------------- append and read

    async def test_numbers_begin_with_one_and_have_no_holes(self, backbone: Backbone) -> None:
        """
        The first number is 1; records that are appended together are numbered in their order, without a hole.
        """
        assert Bounds(0, 0) == await backbone.bounds()
        assert [1, 2, 3] == list(await backbone.append(data("a", "b", "c")))
        assert [4] == list(await backbone.append(data("d")))
        assert [] == list(await backbone.append([]))
        assert Bounds(0, 4) == await backbone.bounds()
        assert [b"a", b"b", b"c", b"d"] == [record.body for record in await read_all(backbone)]

    async def test_records_come_back_as_they_were(self, backbone: Backbone) -> None:
        """
        Kind, topics and body come back as they were given, however odd or large, and the time is Unix seconds.
        """
        given = [
            NewRecord("data", ("policy_data", "data/ü/'\"\\/\n"), '{"ä": "\\u0000 \U0001f600", "n": 1e400}'.encode()),
            NewRecord("policy", (), b"[1, 2,\n 3]"),
            NewRecord("Kind", ("",), b"null"),
            NewRecord("data", ("a", "b") * 500, b'"' + b"x" * 3_000_000 + b'"'),
        ]
        await backbone.append(given)
        found = await read_all(backbone)

        assert given == [NewRecord(record.kind, record.topics, record.body) for record in found]
        assert all(1.6e9 < record.appended_at < 1e11 for record in found)
        assert given == [
            NewRecord(record.kind, record.topics, record.body) for record in await followed(backbone, 0, 4)
        ]

    async def test_pages_lose_nothing(self, backbone: Backbone) -> None:
        """
        A page begins after the number that is asked for, and pages together have every record once, ascending.
        """
        await backbone.append(data(*range(25)))

        assert list(range(11, 26)) == numbers(await read_all(backbone, 10))
        assert list(range(1, 26)) == numbers(await read_all(backbone, limit=4))
        assert [] == list(await backbone.read(25, limit=10))
        assert [] == list(await backbone.read(1000, limit=10))

    async def test_appends_side_by_side_share_no_number(self, backbone: Backbone) -> None:
        """
        Many appends at the same time: each keeps its records together, and the log has each once.
        """
        given: dict[int, str] = {}

        async def append(name: int) -> None:
            for turn in range(5):
                bodies = [f"{name}-{turn}-{place}" for place in range(1 + (name + turn) % 3)]
                got = list(await backbone.append(data(*bodies)))
                assert list(range(got[0], got[0] + len(bodies))) == got
                given.update(zip(got, bodies, strict=True))

        async with anyio.create_task_group() as tasks:
            for name in range(20):
                tasks.start_soon(append, name)

        assert list(range(1, len(given) + 1)) == sorted(given)
        assert given == {record.number: record.body.decode() for record in await read_all(backbone)}

    async def test_cancelled_append_leaves_a_sound_log(self, backbone: Backbone) -> None:
        """
        An append that is cancelled is in the log as a whole or not at all, and the next ones work.
        """
        for delay_s in (0.0, 0.0001, 0.001):
            with anyio.move_on_after(delay_s):
                await backbone.append(data("cancelled", "too"))
        with anyio.fail_after(PROMPT_S):
            (last,) = await backbone.append(data("after"))
        found = await read_all(backbone)

        assert list(range(1, last + 1)) == numbers(found)
        bodies = [record.body for record in found]
        assert [b"cancelled", b"too"] * ((last - 1) // 2) + [b"after"] == bodies

    # ---------------------------------------------------------------------------------------------------- follow

    async def test_follower_gets_what_was_and_what_comes(self, backbone: Backbone) -> None:
        """
        Who follows while others append gets every record once, in order, wherever it begins.
        """
        await backbone.append(data(*range(100)))
        results: dict[int, list[int]] = {}

        async def follow(after: int) -> None:
            results[after] = numbers(await followed(backbone, after, 400))

        async def append() -> None:
            for start in range(100, 400, 3):
                await backbone.append(data(start, start + 1, start + 2))

        async with anyio.create_task_group() as tasks:
            for after in (0, 50, 100):
                tasks.start_soon(follow, after)
            tasks.start_soon(append)
            tasks.start_soon(follow, 99)

        assert {after: list(range(after + 1, 401)) for after in (0, 50, 99, 100)} == results

    async def test_follower_hears_at_once(self, backbone: Backbone) -> None:
        """
        A follower that waits gets an append without anything else happening, and not only when it looks again.
        """
        # So many that none of them can have waited for the next look, every second or so.
        with anyio.fail_after(PROMPT_S):
            async with aclosing(backbone.follow(0)) as batches:
                for turn in range(1, 31):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(backbone.append, data(turn))
                        assert [turn] == numbers(await anext(batches))

    async def test_slow_follower_misses_nothing(self, backbone: Backbone) -> None:
        """
        A follower that takes one batch and then none for thousands of records gets them all when it goes on.
        """
        last = 0
        async with aclosing(backbone.follow(0)) as batches:
            await backbone.append(data("first"))
            found = list(await anext(batches))
            for _ in range(20):
                last = (await backbone.append(data(*("x" * 2000 for _ in range(600)))))[-1]
            with anyio.fail_after(PROMPT_S):
                while found[-1].number < last:
                    found += await anext(batches)

        assert list(range(1, last + 1)) == numbers(found)

    async def test_follower_may_be_ahead(self, backbone: Backbone) -> None:
        """
        Who follows after a number that is not given yet gets what comes after that number only.
        """
        await backbone.append(data("a"))
        async with aclosing(backbone.follow(3)) as batches:
            for body in "bcde":
                await backbone.append(data(body))
            with anyio.fail_after(PROMPT_S):
                found = list(await anext(batches))
                while found[-1].number < 5:
                    found += await anext(batches)

        assert [4, 5] == numbers(found)

    async def test_followers_leave_nothing_behind(self, backbone: Backbone) -> None:
        """
        However many followers were closed or cancelled, no task is left of them, and others go on.
        """
        await backbone.append(data("a"))

        async def wait(batches: AsyncGenerator[Sequence[LogRecord]]) -> None:
            async with aclosing(batches):
                async for _ in batches:
                    pass

        with Watch() as watch:
            async with aclosing(backbone.follow(0)) as lasting:
                await anext(lasting)
                async with anyio.create_task_group() as tasks:
                    for after in (0, 0, 1, 1):
                        tasks.start_soon(wait, backbone.follow(after))
                    await anyio.sleep(0.05)
                    tasks.cancel_scope.cancel()
                await backbone.append(data("b"))
                with anyio.fail_after(PROMPT_S):
                    assert [2] == numbers(await anext(lasting))
            await watch.tasks_end(within_s=1.0)

        assert set() == watch.tasks_left

    # ------------------------------------------------------------------------------------------- compact and trim

    async def test_compacted_records_are_gone_and_nothing_else(self, backbone: Backbone) -> None:
        """
        Compaction removes the records it is given, raises no bound, and remembers what supersedes each.
        """
        await backbone.append(data(*range(10)))
        await backbone.compact({2: 5, 3: 9, 9: 10})
        await backbone.compact({5: 9, 2: 9})
        await backbone.compact({})

        assert [1, 4, 6, 7, 8, 10] == numbers(await read_all(backbone, limit=2))
        assert [4, 6, 7, 8, 10] == numbers(await read_all(backbone, 2))
        assert Bounds(0, 10) == await backbone.bounds()
        assert {2: 5, 3: 9, 5: 9} == await backbone.superseded([1, 2, 3, 5, 11])
        assert {} == await backbone.superseded([])
        assert {1, 4, 6, 7, 8, 10} <= set(numbers(await followed(backbone, 0, 10)))
        assert [11] == list(await backbone.append(data("next")))

    async def test_trim_by_age_raises_the_floor(self, backbone: Backbone) -> None:
        """
        Records beyond the age go, from the oldest on; who has the floor still gets all that is left.
        """
        await backbone.append(data("a", "b", "c"))
        assert Bounds(0, 3) == await backbone.trim(Retention(max_age_s=3600))
        await anyio.sleep(0.05)
        assert Bounds(3, 3) == await backbone.trim(Retention(max_age_s=0.0))
        assert Bounds(3, 3) == await backbone.trim(Retention(max_age_s=0.0))
        assert [4, 5] == list(await backbone.append(data("d", "e")))

        assert Bounds(3, 5) == await backbone.bounds()
        assert [4, 5] == numbers(await read_all(backbone, 3))
        assert [4, 5] == numbers(await followed(backbone, 3, 5))

    async def test_trim_by_size_keeps_the_newest(self, backbone: Backbone) -> None:
        """
        The oldest records go until the rest takes no more room than allowed, and no more of them than needed.
        """
        for _ in range(16):
            await backbone.append(data(*("x" * 16_384 for _ in range(8))))
        assert Bounds(0, 128) == await backbone.trim(Retention(max_bytes=1 << 30))
        bounds = await backbone.trim(Retention(max_bytes=1 << 20))

        assert 128 == bounds.head
        assert list(range(bounds.floor + 1, 129)) == numbers(await read_all(backbone, bounds.floor))
        assert 128 - 64 <= bounds.floor <= 128 - 32

    async def test_what_is_trimmed_is_never_passed_over(self, backbone: Backbone) -> None:
        """
        Who reads or follows from below the floor is told so, and not given the rest as if it were all.
        """
        await backbone.append(data("a", "b", "c"))
        behind = backbone.follow(1)
        await anyio.sleep(0.05)
        await backbone.trim(Retention(max_age_s=0.0))
        await backbone.append(data("d"))

        with pytest.raises(LogTrimmedError) as read:
            await backbone.read(2, limit=10)
        with pytest.raises(LogTrimmedError) as follow, anyio.fail_after(PROMPT_S):
            async with aclosing(behind):
                await anext(behind)
        assert [3, 3] == [read.value.floor, follow.value.floor]

    async def test_appends_go_on_while_others_tidy(self, backbone: Backbone) -> None:
        """
        Appends, compaction and retention side by side: what is left is what should be.
        """
        await backbone.append(data(*range(300)))

        async def append() -> None:
            for number in range(300, 400):
                await backbone.append(data(number))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append)
            tasks.start_soon(backbone.compact, dict.fromkeys(range(100, 300), 300))
            tasks.start_soon(backbone.trim, Retention(max_age_s=3600, max_bytes=1 << 30))

        assert [*range(1, 100), *range(300, 401)] == numbers(await read_all(backbone))

    # --------------------------------------------------------------------------------------------------- register

    async def test_agents_are_kept_by_name(self, backbone: Backbone) -> None:
        """
        Each agent has one document, the last that was saved; forgetting removes it.
        """
        assert {} == await backbone.documents()
        await backbone.save_documents({"a": b"1", "\u00e4 'b'": b"\x00\xff", "c": b""})
        await backbone.save_documents({"a": b"2"})
        await backbone.save_documents({})
        assert {"a": b"2", "\u00e4 'b'": b"\x00\xff", "c": b""} == await backbone.documents()
        await backbone.forget_documents(["c", "nobody"])
        await backbone.forget_documents([])
        assert {"a": b"2", "\u00e4 'b'": b"\x00\xff"} == await backbone.documents()

    async def test_thousands_of_agents_are_kept(self, backbone: Backbone) -> None:
        """
        A fleet is saved, read and forgotten as a whole.
        """
        fleet = {f"agent-{number}": b"%d" % number for number in range(3000)}
        await backbone.save_documents(fleet)
        assert fleet == await backbone.documents()
        await backbone.forget_documents(fleet)
        assert {} == await backbone.documents()

    # ---------------------------------------------------------------------------------------------------- restart

    async def test_everything_is_there_after_a_restart(self, opened: Opened) -> None:
        """
        Identity, records, floor, head, what was compacted and the agents are as they were when it is opened again.
        """
        async with opened() as backbone:
            log_id = backbone.log_id
            await backbone.append(data("old"))
            await anyio.sleep(0.05)
            await backbone.trim(Retention(max_age_s=0.0))
            await backbone.append(data("a", "b", "c"))
            await backbone.compact({2: 3})
            await backbone.save_documents({"agent": b"{}"})
            before = await read_all(backbone, 1)
        async with opened() as backbone:
            assert log_id == backbone.log_id
            assert Bounds(1, 4) == await backbone.bounds()
            assert before == await read_all(backbone, 1)
            assert {2: 3} == await backbone.superseded([2])
            assert {"agent": b"{}"} == await backbone.documents()
            assert [5] == list(await backbone.append(data("d")))
            assert [3, 4, 5] == numbers(await followed(backbone, 1, 5))

    async def test_numbers_go_on_when_all_records_are_gone(self, opened: Opened) -> None:
        """
        No number is given twice, even if retention left no record and the backbone was opened again.
        """
        async with opened() as backbone:
            await backbone.append(data("a", "b"))
            await anyio.sleep(0.05)
            await backbone.trim(Retention(max_age_s=0.0))
        async with opened() as backbone:
            assert Bounds(2, 2) == await backbone.bounds()
            assert [3] == list(await backbone.append(data("c")))

    # ----------------------------------------------------------------------------------------------- registration

    def test_registration_is_complete(self, backbone_type: BackboneType) -> None:
        """
        The registration has a name of one word, a summary of one line, and schemes in lower case without `:`.
        """
        assert backbone_type.name.strip()
        assert not any(char.isspace() for char in backbone_type.name)
        assert backbone_type.summary.strip()
        assert "\n" not in backbone_type.summary
        assert backbone_type.schemes
        for scheme in backbone_type.schemes:
            assert scheme == scheme.lower().rstrip(":/")
