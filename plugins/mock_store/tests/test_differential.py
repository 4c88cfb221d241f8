"""The mock engine does what a naive engine does, commit for commit, and takes a refused commit back entirely."""

from __future__ import annotations

from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import encode
from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Change, Changes, DeleteData, PatchData, SetData, Write
from cabochon.transactions.commit_result import Applied, Refused
from cabochon_mock_store import MockEngine

from .naive_engine import RefusedError, after

segments = st.sampled_from(["a", "b", "0", "1", "-", "00", "system", "é/~"])
paths = st.lists(segments, max_size=4).map(lambda found: DocumentPath(found))  # noqa: PLW0108 # a type is no such function to pyright
values = st.recursive(
    st.sampled_from([None, True, 0, 1, "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(segments, inner, max_size=3),
    max_leaves=6,
).map(encode)
operations = st.builds(PatchOperation, st.sampled_from(["add", "remove", "replace"]), paths, values)
changes = st.one_of(
    st.builds(SetData, paths, values),
    st.builds(DeleteData, paths),
    st.builds(PatchData, paths, st.lists(operations, max_size=4).map(tuple)),
)
commits = st.lists(st.lists(changes, min_size=1, max_size=4), max_size=6)


def whole(engine: MockEngine) -> dict[str, Any]:
    """Everything the engine holds, what it reserves for the agent included."""
    system = engine.get("/system", default=...)
    return engine.documents | ({} if system is ... else {"system": system})


async def commit(engine: MockEngine, group: list[Change]) -> bool:
    """Commit each change as a transaction of its own; tell whether the commit landed."""
    result = await engine.commit(Changes(tuple(Write(str(number), (one,)) for number, one in enumerate(group))))
    kinds = {type(outcome) for outcome in result.outcomes}
    assert kinds in ({Applied}, {Refused})
    if result.blame is not None:
        await blamed_alone(engine, group, result.blame.write)
    return kinds == {Applied}


async def blamed_alone(engine: MockEngine, group: list[Change], guilty: int) -> None:
    """What comes before the blamed change would have landed; the blamed one after it would not."""
    before = whole(engine)
    after(before, group[:guilty])
    try:
        after(before, group[: guilty + 1])
    except RefusedError:
        return
    raise AssertionError(f"change {guilty} is not to blame")


async def differ(group_of_commits: list[list[Change]]) -> None:
    engine, tree = MockEngine(), dict[str, Any]()
    for group in group_of_commits:
        try:
            expected, lands = after(tree, group), True
        except RefusedError:
            expected, lands = tree, False

        assert lands == await commit(engine, group)
        assert expected == whole(engine)
        tree = expected


@given(commits)
def test_engine_agrees_with_the_naive_engine(group_of_commits: list[list[Change]]) -> None:
    """Any commits leave the same tree, and the same ones are refused for the same change."""
    anyio.run(differ, group_of_commits)
