"""The index finds what a look at every path finds."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cabochon import DocumentPath
from cabochon.documents.path_index import PathIndex

paths = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map(DocumentPath)


@dataclass(eq=False)
class Thing:
    """Something at a path, the same as no other."""

    path: DocumentPath


def ids(things: list[Thing]) -> list[int]:
    return sorted(map(id, things))


@given(st.lists(st.tuples(st.sampled_from(["add", "again", "discard", "never"]), paths, st.integers(0, 9))), paths)
def test_index_agrees_with_a_look_at_everything(
    steps: list[tuple[str, DocumentPath, int]], asked: DocumentPath
) -> None:
    """
    After any additions and removals the index finds what overlaps a path, and what it covers, by segment.
    """
    index: PathIndex[Thing] = PathIndex()
    held: list[Thing] = []
    for kind, path, pick in steps:
        if kind == "add" or not held:
            held.append(Thing(path))
            index.add(path, held[-1])
        elif kind == "again":
            index.add(held[pick % len(held)].path, held[pick % len(held)])
        elif kind == "discard":
            gone = held.pop(pick % len(held))
            index.discard(gone.path, gone)
        else:
            index.discard(path, Thing(path))
            index.discard(path / "z", held[0])

    assert len(index) == len(held)
    assert ids(held) == ids(list(index))
    assert ids([thing for thing in held if thing.path.overlaps(asked)]) == ids(list(index.overlapping(asked)))
    assert ids([thing for thing in held if asked.covers(thing.path)]) == ids(list(index.covered_by(asked)))


def test_equal_values_are_two_values() -> None:
    """
    Values are told apart by identity: discarding one leaves its equal.
    """
    index: PathIndex[list[int]] = PathIndex()
    first, second = [1], [1]
    index.add(("a",), first)
    index.add(("a",), second)
    index.discard(("a",), first)

    (left,) = index
    assert left is second


def test_index_forgets_empty_branches() -> None:
    """
    What is discarded leaves no path behind, so that the index stays as small as what it holds.
    """
    index: PathIndex[str] = PathIndex()
    for number in range(100):
        path = DocumentPath(("tenants", str(number), "users"))
        index.add(path, "thing")
        index.discard(path, "thing")

    assert not index
    assert index._root.children == {}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - memory has no other face
