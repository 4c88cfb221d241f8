"""What is sent for the changes of a commit, where OPA has habits of its own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import encode
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import DataChange, DeleteData, PatchData, SetData
from cabochon.transactions.commit_result import Blame
from cabochon_opa.data import planner
from cabochon_opa.data.commit_tree import CommitTree, Kind
from cabochon_opa.data.known_objects import KnownObjects
from cabochon_opa.data.plan import Place, Plan, RefusedChange
from cabochon_opa.data.planner import overlap, paths_to_ask_for, plan

Path = tuple[str, ...]


def at(text: str) -> DocumentPath:
    return DocumentPath.parse(text)


def put(path: str, value: object) -> SetData:
    return SetData(at(path), encode(value))


def patch(path: str, *operations: tuple[str, str, object]) -> PatchData:
    return PatchData(
        at(path),
        tuple(PatchOperation(op, DocumentPath.from_pointer(below), encode(value)) for op, below, value in operations),  # pyright: ignore[reportArgumentType]
    )


def planned(*changes: DataChange, there: dict[str, Kind] | None = None, known: KnownObjects | None = None) -> list[Any]:
    """The operations as (op, path, value), given what is in OPA."""
    asked: dict[Path, Kind] = {tuple(at(path)): kind for path, kind in (there or {}).items()}
    places = [Place(Blame(number, 0), change) for number, change in enumerate(changes)]
    made = plan(Plan(), places, CommitTree(known or KnownObjects(), asked), overlapping=overlap(places))
    return [(one["op"], one["path"], one.get("value")) for one in json.loads(made.body())]


def _table() -> list[tuple[str, str, str]]:
    rows = [re.split(" {2,}", line.strip()) for line in (planner.__doc__ or "").splitlines() if line.startswith("    ")]
    return [(has, commit, sent) for has, commit, sent, _because in rows[1:]]


def _change(text: str) -> DataChange:
    match text.split(" "):
        case ["set", path, value]:
            return SetData(at(path), value.encode())
        case ["delete", path]:
            return DeleteData(at(path))
        case ["patch", path, op, below, *value]:
            return patch(path, (op, below, json.loads(value[0]) if value else None))
        case _:
            raise ValueError(text)


@pytest.mark.parametrize(("has", "commit", "sent"), _table())
def test_table_of_the_planner_is_true(has: str, commit: str, sent: str) -> None:
    """
    The docstring of the planner shows what it does.
    """
    there: dict[str, Kind] = {"/a/0": "scalar"}
    if has in {"array /a", "array /l", "scalar /a"}:
        there[has.split(" ")[1]] = "array" if has.startswith("array") else "scalar"
    operations = planned(*map(_change, commit.split("; ")), there=there)

    said = [f"{op} {path}{'' if op == 'remove' else f' {json.dumps(value)}'}" for op, path, value in operations]
    assert sent.replace(" ", "") == ("; ".join(said) or "-").replace(" ", "")


def test_missing_parents_travel_in_the_value() -> None:
    assert planned(put("/a/b/c", 1)) == [("add", "/a", {"b": {"c": 1}})]
    assert planned(put("/a/b/c", 1), there={"/a": "object"}) == [("add", "/a/b", {"c": 1})]


def test_the_second_child_of_a_new_parent_does_not_replace_it() -> None:
    assert planned(put("/a/b", 1), put("/a/c", 2)) == [("add", "/a", {"b": 1}), ("add", "/a/c", 2)]


def test_an_element_is_replaced_not_inserted() -> None:
    there: dict[str, Kind] = {"/a": "array", "/a/0": "scalar"}
    assert planned(put("/a/0", 1), there=there) == [("replace", "/a/0", 1)]
    for missing in ("/a/1", "/a/00", "/a/-", "/a/x", "/a/1/b"):
        with pytest.raises(RefusedChange):
            planned(put(missing, 1), there=there)


def test_what_a_commit_makes_and_takes_away_is_not_sent() -> None:
    """`add` and `remove` of a new member is a 404 to OPA, for it looks at what was there before the patch."""
    assert planned(put("/a", 1), DeleteData(at("/a"))) == []
    assert planned(put("/a", 1), DeleteData(at("/a")), there={"/a": "scalar"}) == [("remove", "/a", None)]
    assert planned(put("/a", {"b": 1}), DeleteData(at("/a/b"))) == [("add", "/a", {"b": 1}), ("remove", "/a/b", None)]


def test_null_is_sent_where_something_was_removed() -> None:
    """`remove` and `add` of null leaves nothing in OPA."""
    there: dict[str, Kind] = {"/a": "scalar"}
    assert planned(DeleteData(at("/a")), put("/a", None), there=there) == [("add", "/a", None)]
    both = patch("/d", ("remove", "/x", None), ("add", "/x", None))
    assert planned(both, there={**there, "/d": "object", "/d/x": "scalar"}) == [("add", "/d/x", None)]


def test_a_patch_of_new_members_is_left_to_opa() -> None:
    """Whether its document is there, OPA finds out itself."""
    assert planned(patch("/d", ("add", "/x", 1), ("replace", "/y", 2))) == [("add", "/d/x", 1), ("replace", "/d/y", 2)]
    assert planned(patch("/d", ("add", "", 1))) == [("replace", "/d", 1)]


def test_what_overlaps_a_patch_is_judged_here() -> None:
    twice = patch("/d", ("add", "/x", 1), ("remove", "/x", None), ("remove", "/x", None))
    there: dict[str, Kind] = {"/d": "object"}
    with pytest.raises(RefusedChange) as refused:
        planned(twice, there=there)
    assert refused.value.place == Blame(0, 0)


def test_nobody_is_blamed_for_depending_on_moved_elements() -> None:
    """Another commit could do it, so core must not take it for a refusal for good."""
    with pytest.raises(RefusedChange) as refused:
        planned(patch("/a", ("add", "/-", 1)), put("/a/0/x", 1), there={"/a": "array", "/a/0": "object"})
    assert refused.value.place is None


@pytest.mark.parametrize("pointer", ["/a//b", "/a/", "//a"])
def test_empty_keys_are_refused(pointer: str) -> None:
    """OPA strips slashes off both ends of a pointer, and would write one level up."""
    with pytest.raises(RefusedChange) as refused:
        planned(patch("/d", ("add", pointer, 1)))
    assert isinstance(refused.value.error, StoreRejectedError)


def test_percent_signs_are_escaped() -> None:
    """OPA resolves percent escapes in the pointers of a patch."""
    there: dict[str, Kind] = {"50%25": "object"}
    assert planned(SetData(DocumentPath(("50%", "a/b~c")), b"1"), there=there) == [("add", "/50%25/a~1b~0c", 1)]


def test_nothing_is_asked_about_what_is_known() -> None:
    known = KnownObjects()
    places = [Place(Blame(0, 0), put("/users/bob", 1)), Place(Blame(1, 0), patch("/users/eve", ("add", "/x", 1)))]
    assert paths_to_ask_for(places, known, overlapping=False) == {("users",)}
    known.learn(("users",))
    assert paths_to_ask_for(places, known, overlapping=False) == set()


segments = st.sampled_from(["a", "b", "c"])
tree_paths = st.lists(segments, max_size=3).map(tuple)


@given(st.lists(st.tuples(st.sampled_from(["learn", "object", "other"]), tree_paths), max_size=12))
def test_known_objects_never_know_too_much(steps: list[tuple[str, Path]]) -> None:
    """Whatever is learnt and replaced, what is known to be an object is one."""
    known = KnownObjects()
    objects: set[Path] = {()}
    for step, path in steps:
        if step == "learn":
            known.learn(path)
            objects.update(path[:depth] for depth in range(len(path) + 1))
        elif path:
            known.replaced(path, by_object=step == "object")
            objects = {kept for kept in objects if kept[: len(path)] != path}
            if step == "object" and path[:-1] in objects:
                objects.add(path)
        assert all(path in objects for path in objects | {path} if path in known)
        assert () in known
