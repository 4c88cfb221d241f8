"""The live tail: records from memory and pages from disk meet without a gap and without a repeat."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cabochon import LogRecord
from cabochon_opal_server.log.tail import Tail


def records(first: int, sizes: Sequence[int]) -> list[LogRecord]:
    return [LogRecord(number, "data", (), b"x" * size, 0.0) for number, size in enumerate(sizes, start=first)]


appended = st.lists(st.integers(0, 40), min_size=1, max_size=7)
steps = st.lists(st.one_of(appended, st.tuples(st.integers(0, 2), st.integers(1, 9))), max_size=60)


@given(steps=steps, head=st.integers(0, 3), begin=st.lists(st.integers(0, 30), min_size=3, max_size=3))
def test_followers_get_each_record_once_in_order(
    steps: list[list[int] | tuple[int, int]], head: int, begin: list[int]
) -> None:
    """
    However appends and three followers take turns, each follower gets every record after its beginning, once, and the
    tail holds no more than its bounds and the last batch.
    """
    tail = Tail(head, max_records=8, max_bytes=200)
    disk = records(1, [1] * head)
    positions, got = list(begin), [list[int]() for _ in begin]

    def step(follower: int, limit: int) -> bool:
        batch = tail.after(positions[follower], limit=limit)
        if batch is None:
            batch = [record for record in disk if record.number > positions[follower]][:limit]
            assert batch, "whoever is behind the tail finds something on disk"
        got[follower] += [record.number for record in batch]
        positions[follower] = batch[-1].number if batch else positions[follower]
        return bool(batch)

    for one in steps:
        if isinstance(one, tuple):
            step(*one)
        else:
            new = records(tail.head + 1, one)
            disk += new
            tail.add(new)
            assert len(disk) == tail.head
    for follower, after in enumerate(begin):
        while step(follower, 5):
            pass
        assert list(range(after + 1, tail.head + 1)) == got[follower]


@given(batches=st.lists(appended, max_size=40), floor=st.integers(0, 100))
def test_tail_is_bounded(batches: list[list[int]], floor: int) -> None:
    """
    It never holds more than its bounds, whatever the sizes, and nothing that retention removed.
    """
    tail = Tail(0, max_records=8, max_bytes=100)
    for one in batches:
        tail.add(records(tail.head + 1, one))
        first = next(number for number in range(tail.head + 1) if tail.after(number, limit=1) is not None)
        held = tail.after(first, limit=1000) or ()
        assert len(held) <= 8
        assert sum(len(record.body) for record in held) <= 100
    head = tail.head
    tail.forget(min(floor, head))
    assert head == tail.head
    assert min(floor, head) == 0 or tail.after(min(floor, head) - 1, limit=1) is None
    assert tail.after(head, limit=1) == []
