"""How far an entry may come, and from where."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon import sync
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError, FetchError, StoreRejectedError
from cabochon.sync.rules.update import Entry, EntryState, Method, Update

REFUSED = StoreRejectedError("no")
STEPS: dict[str, tuple[Callable[[Entry], object], EntryState]] = {
    "ready": (lambda entry: entry.ready(b"1"), EntryState.READY),
    "fetch_failed": (lambda entry: entry.fetch_failed(FetchError("gone", url="")), EntryState.FETCH_FAILED),
    "save": (Entry.save, EntryState.SAVED),
    "put_off": (lambda entry: entry.put_off(REFUSED), EntryState.PUT_OFF),
    "refuse": (lambda entry: entry.refuse(REFUSED), EntryState.REFUSED),
    "acquit": (Entry.acquit, EntryState.READY),
    "become_moot": (Entry.become_moot, EntryState.MOOT),
}
ALLOWED = {
    ("FETCHING", "READY"),
    ("FETCHING", "FETCH_FAILED"),
    ("FETCHING", "REFUSED"),
    ("FETCHING", "MOOT"),
    ("READY", "SAVED"),
    ("READY", "PUT_OFF"),
    ("READY", "REFUSED"),
    ("READY", "MOOT"),
    ("PUT_OFF", "REFUSED"),
    ("FETCH_FAILED", "MOOT"),
    ("FETCH_FAILED", "REFUSED"),
    ("REFUSED", "MOOT"),
    ("REFUSED", "REFUSED"),
    ("REFUSED", "READY"),
}


def entry(path: str = "/a", method: Method = "PUT") -> Entry:
    return Entry(DocumentPath.parse(path), method)


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12))
def test_entry_goes_only_where_the_table_leads(steps: list[str]) -> None:
    """
    Whatever is tried with an entry, it becomes what it may become, or stays what it is and says why.
    """
    one = entry()
    for step in steps:
        before, error, raw = one.state, one.error, one.raw
        do, after = STEPS[step]
        if (before.name, after.name) in ALLOWED:
            do(one)
            assert after is one.state
        else:
            with pytest.raises(RuntimeError, match=f"an entry that is {before.name} can't become {after.name}"):
                do(one)
            assert (before, error, raw) == (one.state, one.error, one.raw)


@pytest.mark.parametrize("step", sorted(STEPS))
@pytest.mark.parametrize("end", ["save", "become_moot"])
def test_nothing_comes_after_the_end(end: str, step: str) -> None:
    """
    What is in the engine, or moot, stays so.
    """
    one = entry().ready(b"1")
    STEPS[end][0](one)

    with pytest.raises(RuntimeError):
        STEPS[step][0](one)


def test_refusal_that_is_taken_back_leaves_no_error() -> None:
    """
    An entry that was judged by what has not landed is as it was before.
    """
    one = entry().ready(b"1")
    one.refuse(REFUSED)
    one.acquit()

    assert (EntryState.READY, None) == (one.state, one.error)


def test_entry_that_could_not_be_used_is_never_moot() -> None:
    """
    Nothing newer covers what has no place.
    """
    nowhere, refused = entry(), entry().ready(b"1")
    nowhere.refuse(DocumentPathError("no path"))
    refused.refuse(REFUSED)

    assert (False, True) == (nowhere.can_be_moot, refused.can_be_moot)


@pytest.mark.parametrize(
    ("first", "second", "saved"),
    [
        (["save"], ["save"], True),
        (["become_moot"], ["refuse"], True),
        (["refuse"], ["save"], True),
        (["refuse"], ["put_off"], False),
        (["refuse"], ["refuse"], False),
        (["put_off"], ["save"], False),
    ],
)
def test_publisher_hears_that_an_entry_is_saved_if_it_or_what_covers_it_is(
    first: list[str], second: list[str], *, saved: bool
) -> None:
    """
    Saved is what is in force: the entry itself, something newer, or a later entry of the same update at or above it.
    """
    lower, upper = entry("/a/b").ready(b"1"), entry("/a").ready(b"2")
    Update("one", [lower, upper])
    for step in first:
        STEPS[step][0](lower)
    for step in second:
        STEPS[step][0](upper)

    assert saved is lower.saved_for_its_publisher


def test_patch_covers_nothing() -> None:
    """
    A later patch at the same path does not stand for what was refused before it.
    """
    put, patch = entry().ready(b"1"), entry(method="PATCH").ready(b"[]")
    Update("one", [put, patch])
    put.refuse(REFUSED)
    patch.save()

    assert not put.saved_for_its_publisher


def test_later_entry_of_many_covers_what_failed_before_it() -> None:
    """
    With an index as without one: at its path or above it, as long as it is wanted.
    """
    failed, *others = [Entry(DocumentPath.parse("/a/b"), "PUT") for _ in range(20)]
    cover = Entry(DocumentPath.parse("/a"), "PUT").ready(b"1")
    patch = Entry(DocumentPath.parse("/a"), "PATCH").ready(b"[]")
    last = Entry(DocumentPath.parse("/a/b"), "PUT")
    update = Update("u", [cover, failed, *others, patch, last])
    assert 23 == len(update.entries)
    for entry in (failed, *others):
        entry.fetch_failed(FetchError("down", url=""))

    assert failed.covered_by is None
    last.ready(b"1")
    assert last is failed.covered_by
    last.refuse(StoreRejectedError("no"))
    assert failed.covered_by is None
    last.acquit()
    last.save()
    assert last is failed.covered_by
    update.entries = []
    assert failed.covered_by is None


def test_nobody_else_sets_a_state() -> None:
    """
    Entries change by their own methods alone, which the table above holds to what may be.
    """
    others = [
        f"{module.name}:{node.lineno}"
        for module in sorted(Path(sync.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "state" and isinstance(node.ctx, ast.Store)
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]

    assert [] == others
