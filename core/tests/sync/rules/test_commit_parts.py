"""How a group of updates is cut down: no reader may see half of an update that could have stayed whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.sync.rules.commit_parts import Part, alive_entries, halved
from cabochon.sync.rules.update import Entry, Kind, Update


def part(number: int, ready: list[bool]) -> Part:
    entries: list[Entry] = []
    for place, is_ready in enumerate(ready):
        entry = Entry(DocumentPath((str(number), str(place))), "PUT").ready(b"1")
        if not is_ready:
            entry.refuse(StoreRejectedError("no"))
        entries.append(entry)
    return Part(Update(str(number), entries, Kind.LIVE), entries, last=True)


groups = st.lists(st.lists(st.booleans(), max_size=4), max_size=6).map(
    lambda sizes: [part(number, ready) for number, ready in enumerate(sizes)]
)


@given(groups)
def test_an_update_is_cut_only_where_it_alone_still_writes(parts: list[Part]) -> None:
    """
    Both halves write something, nothing is lost or changes places, and updates stay whole while there are several.
    """
    halves = halved(parts)
    alive = alive_entries(parts)
    if halves is None:
        assert len(alive) < 2
        return
    left, right = halves
    assert alive_entries(left)
    assert alive_entries(right)
    assert alive == alive_entries(left) + alive_entries(right)
    if sum(bool(alive_entries([one])) for one in parts) > 1:
        assert parts == left + right


@given(st.integers(2, 40))
def test_halves_of_equal_updates_are_about_equal(count: int) -> None:
    """
    So that the guilty one of many is found in few steps.
    """
    halves = halved([part(number, [True]) for number in range(count)])

    assert halves is not None
    assert abs(len(halves[0]) - len(halves[1])) <= 1
