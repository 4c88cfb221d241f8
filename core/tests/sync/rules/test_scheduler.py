"""The scheduler: who waits for whom, who overtakes whom, what is dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cabochon.documents.path import DocumentPath
from cabochon.errors import FetchError, StoreRejectedError
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, EntryState, Kind, Method, Update

Cost = Callable[[Callable[[], object]], int]


def _update(name: str, *writes: tuple[str, Method], fetch: bool = False, kind: Kind = Kind.LIVE) -> Update:
    entries = [Entry(DocumentPath.parse(path), method) for path, method in writes]
    if not fetch:
        for entry in entries:
            entry.ready(b"1")
    return Update(name, entries, kind)


def _arrived(scheduler: Scheduler, name: str, *writes: tuple[str, Method], fetch: bool = False) -> Update:
    update = _update(name, *writes, fetch=fetch)
    scheduler.arrive(update)
    return update


def _taken(scheduler: Scheduler) -> list[str]:
    return [update.id for update in scheduler.take(max_updates=100, max_bytes=1_000)]


def _land(scheduler: Scheduler, update: Update) -> None:
    for entry in update.entries:
        if entry.state is EntryState.READY:
            entry.save()
    scheduler.ended(update)


def test_inline_updates_are_taken_in_order_of_arrival() -> None:
    """
    What needs no fetch goes straight into the queue.
    """
    scheduler = Scheduler()
    for name in ("a", "b", "c"):
        _arrived(scheduler, name, ("/users", "PUT"))

    assert ["a", "b", "c"] == _taken(scheduler)


@pytest.mark.parametrize(
    ("older", "newer", "waits"),
    [
        ("/users", "/users/bob", True),
        ("/users", "/users2", False),
        ("/users/bob", "/users/alice", False),
        ("/a/b", "/a/b/c/d", True),
        ("/", "/users", True),
    ],
)
def test_update_waits_for_an_older_overlapping_fetch(older: str, newer: str, waits: bool) -> None:  # noqa: FBT001
    """
    Paths overlap by segment, and only what overlaps waits.
    """
    scheduler = Scheduler()
    slow = _arrived(scheduler, "slow", (older, "PUT"), fetch=True)
    _arrived(scheduler, "quick", (newer, "PUT"))

    assert ([] if waits else ["quick"]) == _taken(scheduler)
    scheduler.fetched(slow.entries[0], b"1")
    assert (["slow", "quick"] if waits else ["slow"]) == _taken(scheduler)


def test_patch_waits_even_where_a_put_would_overtake() -> None:
    """
    A JSON patch needs what the older write leaves, so it can't go first.
    """
    scheduler = Scheduler()
    _arrived(scheduler, "slow", ("/users", "PUT"), fetch=True)
    _arrived(scheduler, "patch", ("/users", "PATCH"))

    assert [] == _taken(scheduler)


@pytest.mark.parametrize("path", ["/users/bob", "/users", "/"])
def test_newer_covering_put_goes_first(path: str) -> None:
    """
    A PUT of an equal or ancestor path does not wait for a hung source, and the older write is dropped when it comes.
    """
    scheduler = Scheduler()
    slow = _arrived(scheduler, "slow", ("/users/bob", "PUT"), fetch=True)
    newer = _arrived(scheduler, "newer", (path, "PUT"))

    assert ["newer"] == _taken(scheduler)
    _land(scheduler, newer)
    scheduler.fetched(slow.entries[0], b"old")
    assert ["slow"] == _taken(scheduler)
    assert EntryState.MOOT is slow.entries[0].state


def test_older_write_is_kept_back_until_the_newer_one_is_settled() -> None:
    """
    Data that comes while the newer write is on its way is not written before it is known whether that one lands.
    """
    scheduler = Scheduler()
    slow = _arrived(scheduler, "slow", ("/users", "PUT"), fetch=True)
    newer = _arrived(scheduler, "newer", ("/users", "PUT"))
    _taken(scheduler)
    scheduler.fetched(slow.entries[0], b"old")

    assert [] == _taken(scheduler)
    newer.entries[0].refuse(StoreRejectedError("no"))
    scheduler.ended(newer)
    assert ["slow"] == _taken(scheduler)
    assert EntryState.READY is slow.entries[0].state


def test_older_write_waits_for_every_newer_one_on_its_way() -> None:
    """
    If the first of two newer writes is refused, the older one still must not land behind the second.
    """
    scheduler = Scheduler()
    slow = _arrived(scheduler, "slow", ("/users", "PUT"), fetch=True)
    first = _arrived(scheduler, "first", ("/users", "PUT"))
    second = _arrived(scheduler, "second", ("/users", "PUT"))
    _taken(scheduler)
    scheduler.fetched(slow.entries[0], b"old")
    first.entries[0].refuse(StoreRejectedError("no"))
    scheduler.ended(first)

    assert [] == _taken(scheduler)
    _land(scheduler, second)
    assert ["slow"] == _taken(scheduler)
    assert EntryState.MOOT is slow.entries[0].state


def test_what_waits_behind_a_dropped_write_goes_on() -> None:
    """
    Once the hung write is moot, nobody waits for its source any longer.
    """
    scheduler = Scheduler()
    _arrived(scheduler, "hung", ("/users", "PUT"), fetch=True)
    _arrived(scheduler, "patch", ("/users/bob", "PATCH"))
    newer = _arrived(scheduler, "newer", ("/users", "PUT"))
    later = _arrived(scheduler, "later", ("/users/bob", "PATCH"))
    assert ["newer"] == _taken(scheduler)
    _land(scheduler, newer)

    assert ["later", "patch"] == sorted(_taken(scheduler))
    assert EntryState.READY is later.entries[0].state


def test_update_lands_as_a_whole_when_its_last_fetch_came() -> None:
    """
    The entries of an update are not queued one by one.
    """
    scheduler = Scheduler()
    update = _arrived(scheduler, "both", ("/a", "PUT"), ("/b", "PUT"), fetch=True)
    scheduler.fetched(update.entries[1], b"2")

    assert [] == _taken(scheduler)
    scheduler.fetched(update.entries[0], b"1")
    assert ["both"] == _taken(scheduler)


def test_failed_entry_is_in_nobodys_way() -> None:
    """
    A fetch that failed lets overlapping updates go, though its own update still waits for a sibling.
    """
    scheduler = Scheduler()
    update = _arrived(scheduler, "both", ("/a", "PUT"), ("/b", "PUT"), fetch=True)
    _arrived(scheduler, "newer", ("/a/x", "PUT"))
    scheduler.failed(update.entries[0], FetchError("no", url=""))

    assert ["newer"] == _taken(scheduler)
    scheduler.fetched(update.entries[1], b"2")
    assert ["both"] == _taken(scheduler)


def test_entry_that_failed_before_a_newer_write_landed_is_moot() -> None:
    """
    It must not be reported as out of sync afterwards, nor be tried again.
    """
    scheduler = Scheduler()
    update = _arrived(scheduler, "both", ("/a", "PUT"), ("/b", "PUT"), fetch=True)
    scheduler.failed(update.entries[0], FetchError("no", url=""))
    newer = _arrived(scheduler, "newer", ("/a", "PUT"))
    _taken(scheduler)
    _land(scheduler, newer)

    assert EntryState.MOOT is update.entries[0].state


def test_retry_overtakes_nothing() -> None:
    """
    A retry is older than what came after its first try, so it waits for it.
    """
    scheduler = Scheduler()
    slow = _arrived(scheduler, "slow", ("/users", "PUT"), fetch=True)
    retry = _update("retry", ("/users", "PUT"), kind=Kind.RETRY)
    scheduler.arrive(retry)

    assert [] == _taken(scheduler)
    scheduler.fetched(slow.entries[0], b"1")
    assert ["slow"] == _taken(scheduler)
    assert ["retry"] == _taken(scheduler)


def test_retry_starts_a_batch_of_its_own() -> None:
    """
    So that everything before it has ended when it is judged.
    """
    scheduler = Scheduler()
    _arrived(scheduler, "first", ("/a", "PUT"))
    scheduler.arrive(_update("retry", ("/b", "PUT"), kind=Kind.RETRY))
    _arrived(scheduler, "last", ("/c", "PUT"))

    assert ["first"] == _taken(scheduler)
    assert ["retry", "last"] == _taken(scheduler)


def test_batch_keeps_to_its_limits() -> None:
    """
    A batch ends at the limits, but always holds one update, however large.
    """
    scheduler = Scheduler()
    for name, size in (("large", 5_000), ("small", 10), ("other", 10)):
        _arrived(scheduler, name, (f"/{name}", "PUT")).size_bytes = size

    assert ["large"] == _taken(scheduler)
    assert ["small"] == [update.id for update in scheduler.take(max_updates=1, max_bytes=1_000)]
    assert ["other"] == _taken(scheduler)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_thousands_of_fetches_for_one_place_cost_what_hundreds_do(method: Method, cost: Cost) -> None:
    """
    Ten times as many cost some ten times as much, and not a hundred times.
    """
    assert cost(lambda: _play(method, 2_000)) < 15 * cost(lambda: _play(method, 200))


def _play(method: Method, count: int) -> None:
    scheduler = Scheduler()
    updates = [_arrived(scheduler, str(number), ("/a", method), fetch=True) for number in range(count)]
    for update in updates:
        scheduler.failed(update.entries[0], FetchError("down", url=""))
    assert count == len(scheduler.take(max_updates=count, max_bytes=1))


def test_whatever_waits_in_one_place_goes_in_order() -> None:
    """
    The newest waits for the one before it, and with that gone for the next: no gap lets it through.
    """
    scheduler = Scheduler()
    fetches = [_arrived(scheduler, name, ("/a", "PATCH"), fetch=True) for name in ("one", "two", "three")]
    _arrived(scheduler, "last", ("/a/b", "PATCH"))

    scheduler.fetched(fetches[2].entries[0], b"1")
    scheduler.failed(fetches[1].entries[0], FetchError("down", url=""))
    assert [] == _taken(scheduler)
    scheduler.fetched(fetches[0].entries[0], b"1")
    assert ["one", "two", "three", "last"] == _taken(scheduler)


def test_ten_thousand_that_wait_for_one_another_are_let_go_at_once() -> None:
    """
    However long the chain is.
    """
    scheduler = Scheduler()
    first = _arrived(scheduler, "first", ("/a", "PATCH"), fetch=True)
    for number in range(10_000):
        _arrived(scheduler, str(number), ("/a", "PATCH"))

    scheduler.fetched(first.entries[0], b"1")
    names = [update.id for update in scheduler.take(max_updates=20_000, max_bytes=100_000)]
    assert ["first", *map(str, range(10_000))] == names
