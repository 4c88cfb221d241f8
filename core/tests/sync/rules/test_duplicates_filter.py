"""A copy under another topic is dropped, an update sent again on purpose is not."""

import pytest

from cabochon.schemas import DataSourceEntry, DataUpdate
from cabochon.sync.rules.duplicates_filter import DuplicatesFilter


def update(id: str | None = "one", url: str = "http://data.example/a") -> DataUpdate:  # noqa: A002 - the wire's name
    return DataUpdate(id=id, entries=(DataSourceEntry(url=url),))


@pytest.mark.parametrize(
    ("topics", "copies"),
    [
        ("a", ""),
        ("ab", "b"),
        ("abc", "bc"),
        ("aa", ""),
        ("aab", "b"),
        ("abab", "bb"),
        ("abba", "ba"),
    ],
)
def test_copy_comes_on_another_topic(topics: str, copies: str) -> None:
    """
    The first arrival counts, each other topic adds a copy, and the first topic again starts anew.
    """
    seen = DuplicatesFilter()

    assert copies == "".join(topic for topic in topics if seen.is_copy(update(), topic))


@pytest.mark.parametrize("other", [update("two"), update(url="http://data.example/b"), update(None)], ids=repr)
def test_another_update_is_no_copy(other: DataUpdate) -> None:
    """
    Another id or another content makes another update.
    """
    seen = DuplicatesFilter()

    assert not seen.is_copy(update(), "a")
    assert not seen.is_copy(other, "b")


def test_memory_is_bounded() -> None:
    """
    Only the newest updates are remembered, those sent again counting as new.
    """
    seen = DuplicatesFilter(remembered=2)
    for id in ("one", "two", "one", "three"):  # noqa: A001
        assert not seen.is_copy(update(id), "a")

    assert [True, False] == [seen.is_copy(update(id), "b") for id in ("one", "two")]  # noqa: A001
