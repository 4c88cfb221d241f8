"""The retry book: what is tried again, when, and what is moot."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from cabochon.backoff import Backoff
from cabochon.documents.path import DocumentPath
from cabochon.schemas import DataSourceEntry
from cabochon.sync.rules.retry_book import Cause, FailedEntry, RetryBook
from cabochon.sync.rules.update import Entry, Method

Cost = Callable[[Callable[[], object]], int]

BACKOFF = Backoff(first_s=2, longest_s=8, random=Random(1))  # noqa: S311 - jitter


def _failed(path: str, origin: int, cause: Cause = Cause.FETCH, method: Method = "PUT") -> FailedEntry[None]:
    spec = DataSourceEntry(url="https://data.example/a", dst_path=path)
    return FailedEntry(Entry(DocumentPath.parse(path), method, spec), cause, origin, owner=None)


def test_failed_fetch_is_due_after_its_backoff() -> None:
    """
    Not before half of the step, not after all of it, and not before the source wants.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    soon, later = _failed("/a", 1), _failed("/b", 2)
    book.add(soon, 100.0)
    book.add(later, 100.0, retry_after_s=30.0)

    assert [] == book.due(100.9)
    assert [soon] == book.due(102.0)
    assert 130.0 == later.due_at == book.next_due_at()
    assert [] == book.due(129.0)
    assert [later] == book.due(130.0)


def test_entry_on_a_try_is_not_due() -> None:
    """
    One try at a time.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    failed = _failed("/a", 1)
    book.add(failed, 0.0)
    failed.trying = Entry(failed.path, "PUT")

    assert [] == book.due(1_000.0)
    assert book.next_due_at() is None
    book.failed_again(failed, 1_000.0)
    assert 2 == failed.tries
    assert [failed] == book.due(1_004.0)


def test_refused_write_waits_for_policies_and_a_failed_patch_for_ever() -> None:
    """
    Neither has a time; only a change of policies makes the refused write due.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    refused, patch = _failed("/a", 1, Cause.REFUSED), _failed("/b", 2, Cause.PATCH, "PATCH")
    book.add(refused, 0.0)
    book.add(patch, 0.0)

    assert [] == book.due(1e9)
    book.policies_changed(50.0)
    assert [refused] == book.due(50.0)


def test_newer_landing_makes_an_entry_moot() -> None:
    """
    At its path or above it; not below, not beside, and not if it is older.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    failed = _failed("/users/bob", 5)
    book.add(failed, 0.0)

    assert [] == book.landed(DocumentPath.parse("/users/bob/roles"), 9)
    assert [] == book.landed(DocumentPath.parse("/users2"), 9)
    assert [] == book.landed(DocumentPath.parse("/users"), 4)
    assert [failed] == book.landed(DocumentPath.parse("/users"), 9)
    assert 0 == len(book)


def test_newer_failure_of_the_same_fetch_takes_older_ones_along() -> None:
    """
    However often a fetch into one path fails, the book holds one try of it.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    first, second, third = _failed("/a", 1), _failed("/a", 2), _failed("/a", 3)
    for failed in (first, second, third):
        assert [] == book.add(failed, 0.0)

    assert [first, second, third] == third.everyone
    assert 1 == len(book)


def test_newer_failure_makes_nothing_moot() -> None:
    """
    What has failed itself may never land: older entries below it are tried again all the same.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    older, refused, newer = _failed("/a/b", 1), _failed("/a", 2, Cause.REFUSED), _failed("/a", 3)
    for failed in (older, refused, newer):
        assert [] == book.add(failed, 0.0)

    assert 3 == len(book)


@pytest.mark.parametrize("path", ["/a", "/{}"], ids=["one path", "many paths"])
def test_thousands_of_failures_cost_what_hundreds_do(path: str, cost: Cost) -> None:
    """
    Ten times as many cost some ten times as much, and not a hundred times.
    """
    assert cost(lambda: _play(path, 3_000)) < 15 * cost(lambda: _play(path, 300))


def _play(path: str, count: int) -> None:
    failed = [_failed(path.format(number), number) for number in range(count)]
    for number, one in enumerate(failed):
        one.entry.spec = DataSourceEntry(url=f"https://data.example/{number}", dst_path="/a")
    book: RetryBook[None] = RetryBook(BACKOFF)
    for one in failed:
        book.add(one, 0.0)
        book.next_due_at()
    for one in book.due(100.0):
        book.failed_again(one, 100.0)
        book.next_due_at()


def test_full_book_gives_up_the_oldest() -> None:
    """
    One for each that comes.
    """
    book: RetryBook[None] = RetryBook(BACKOFF)
    failed = [_failed(f"/{number}", number) for number in range(10_002)]
    given_up = [gone for one in failed for gone in book.add(one, 0.0)]

    assert failed[:2] == given_up
    assert 10_000 == len(book)
