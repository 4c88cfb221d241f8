"""Changes to a document follow the rules of RFC 6902 and of OPA's data API, and each can be taken back."""

import copy
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias, TypeGuard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon import DocumentPath, PatchFailedError, PatchOperation, PathConflictError
from cabochon.documents import json_tree, json_values
from cabochon.documents.json_tree import MISSING

Json: TypeAlias = Any

DOCUMENT = {"list": [1, 2], "member": {"x": 1}, "scalar": 1, "null": None}
NATIVE = frozenset({"add", "remove", "replace"})

keys = st.sampled_from(["a", "b", "0", "1", "-", "01", ""])
scalars = st.none() | st.booleans() | st.sampled_from([0, 1, "a", ""])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
documents = st.dictionaries(keys, values, max_size=3) | values
paths = st.lists(keys, max_size=3).map(DocumentPath)
operations = st.builds(
    PatchOperation,
    st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
    paths,
    values.map(json_values.encode),
    paths,
)


def at(pointer: str) -> DocumentPath:
    return DocumentPath.from_pointer(pointer)


def operation(op: Json, pointer: str, value: object = None, source: str | None = None) -> PatchOperation:
    return PatchOperation(op, at(pointer), json_values.encode(value), None if source is None else at(source))


def is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list)


def snapshot(holder: json_tree.Holder) -> str | None:
    return None if holder[0] is MISSING else json.dumps(holder[0], sort_keys=True)


# ------------------------------------------------------------------------------------------- RFC 6902, naively


class NotApplicableError(Exception):
    """The operation does not apply."""


def position(part: str, length: int) -> int:
    if part not in map(str, range(length)):
        raise NotApplicableError
    return int(part)


def naive_get(document: Json, path: Sequence[str]) -> Json:
    for part in path:
        if is_object(document) and part in document:
            document = document[part]
        elif is_array(document):
            document = document[position(part, len(document))]
        else:
            raise NotApplicableError
    return document


def naive_add(document: Json, path: tuple[str, ...], value: Json) -> Json:
    if not path:
        return value
    if is_array(document) and len(path) == 1:
        place = len(document) if path[0] == "-" else position(path[0], len(document) + 1)
        return [*document[:place], value, *document[place:]]
    if is_object(document) and len(path) == 1:
        return document | {path[0]: value}
    changed = naive_add(naive_get(document, path[:1]), path[1:], value)
    return naive_set(document, path[0], changed)


def naive_set(document: Json, part: str, value: Json) -> Json:
    if is_array(document):
        return [value if place == position(part, len(document)) else old for place, old in enumerate(document)]
    return document | {part: value}


def naive_remove(document: Json, path: Sequence[str]) -> Json:
    naive_get(document, path)
    if len(path) == 0:
        return MISSING
    if len(path) > 1:
        return naive_set(document, path[0], naive_remove(document[_step(document, path[0])], path[1:]))
    if is_array(document):
        return [old for place, old in enumerate(document) if place != int(path[0])]
    return {key: value for key, value in document.items() if key != path[0]}


def _step(document: Json, part: str) -> Json:
    return int(part) if is_array(document) else part


def naive_apply(document: Json, wanted: PatchOperation) -> Json:
    if document is MISSING:
        raise NotApplicableError
    path, value, source = wanted.path, json.loads(wanted.value or b"null"), wanted.source or DocumentPath()
    match wanted.op:
        case "add":
            return naive_add(document, path, value)
        case "remove":
            return naive_remove(document, path)
        case "replace":
            naive_get(document, path)
            return naive_set_at(document, path, value)
        case "test":
            if json.dumps(naive_get(document, path), sort_keys=True) != json.dumps(value, sort_keys=True):
                raise NotApplicableError
            return document
        case "copy":
            return naive_add(document, path, naive_get(document, source))
        case "move":
            moved = naive_get(document, source)
            if source != path and source.covers(path):
                raise NotApplicableError
            rest = naive_remove(document, source)
            return moved if not path else naive_add(rest, path, moved)


def naive_set_at(document: Json, path: tuple[str, ...], value: Json) -> Json:
    if not path:
        return value
    return naive_set(document, path[0], naive_set_at(naive_get(document, path[:1]), path[1:], value))


# --------------------------------------------------------------------------------------------------- patches


@given(documents, st.lists(operations, max_size=4))
def test_patch_agrees_with_a_naive_one(document: Json, wanted: list[PatchOperation]) -> None:
    """
    A patch does what RFC 6902 says, or fails where it says so and changes nothing.
    """
    expected: Json = document
    fails = False
    try:
        for each in wanted:
            expected = naive_apply(expected, each)
    except NotApplicableError:
        fails, expected = True, document
    holder = [copy.deepcopy(document)]
    try:
        json_tree.patch(holder, wanted, [])
    except PatchFailedError:
        assert fails
    else:
        assert not fails

    assert expected == holder[0]


@given(documents, st.lists(operations, max_size=3))
def test_translated_patch_does_the_same(document: Json, wanted: list[PatchOperation]) -> None:
    """
    A patch in add, remove and replace alone leads to the same document, and is refused where the original is.
    """
    patched, translated = [copy.deepcopy(document)], [copy.deepcopy(document)]
    try:
        json_tree.patch(patched, wanted, [])
    except PatchFailedError:
        with pytest.raises(PatchFailedError):
            json_tree.translate(translated, wanted, NATIVE, [])
        assert translated == [document]
        return
    plain = json_tree.translate(translated, wanted, NATIVE, [])
    assert {each.op for each in plain} <= NATIVE
    assert patched == translated

    again = [copy.deepcopy(document)]
    json_tree.patch(again, plain, [])
    assert patched == again


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (operation("add", "/missing/x"), "operation 1 (add '/missing/x'): there is nothing at /missing"),
        (operation("replace", "/list/2"), "operation 1 (replace '/list/2'): there is nothing at /list/2"),
        (operation("remove", "/scalar/x"), "operation 1 (remove '/scalar/x'): there is nothing at /scalar/x"),
        (operation("test", "/scalar", 2), "operation 1 (test '/scalar'): the value there is another one"),
        (operation("copy", "/a", source="/b"), "operation 1 (copy '/a'): there is nothing at /b"),
        (
            operation("move", "/member/x/y", source="/member"),
            "operation 1 (move '/member/x/y'): a value can't be moved into itself",
        ),
    ],
    ids=lambda case: case.op if isinstance(case, PatchOperation) else "",
)
def test_patch_says_which_operation_fails(failing: PatchOperation, message: str) -> None:
    """
    A refusal counts operations from 0, as RFC 6902's arrays do, and says what is missing.
    """
    holder = [copy.deepcopy(DOCUMENT)]
    with pytest.raises(PatchFailedError) as caught:
        json_tree.patch(holder, [operation("add", "/first", 1), failing, operation("add", "/last", 1)], [])

    assert message == str(caught.value)
    assert caught.value.path == str(failing.path)
    assert holder == [DOCUMENT]


@pytest.mark.parametrize(
    ("raw", "other", "equal"),
    [
        (b"1", b"1.0", True),
        (b"1", b"true", False),
        (b"0", b"false", False),
        (b"null", b"false", False),
        (b"[1,[]]", b"[1.00,[]]", True),
        (b"[1]", b"[1,1]", False),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', True),
        (b'{"a":1}', b'{"a":true}', False),
        (b'{"a":null}', b"{}", False),
        (b"0.1", b"0.10000000000000000555", False),
        (b"1e99999999999999999999", b"1e99999999999999999999", True),
    ],
)
def test_test_compares_as_json_does(raw: bytes, other: bytes, equal: bool) -> None:  # noqa: FBT001 - a case's outcome
    """
    Numbers are compared by value and exactly, objects without order, and true is no number.
    """
    for left, right in ((raw, other), (other, raw)):
        holder = [json_values.decode(left)]
        wanted = [PatchOperation("test", DocumentPath(), right)]
        if equal:
            json_tree.patch(holder, wanted, [])
        else:
            with pytest.raises(PatchFailedError):
                json_tree.patch(holder, wanted, [])


def test_copy_is_a_copy() -> None:
    """
    A copied value and its source go separate ways afterwards.
    """
    holder = [{"a": {"x": [1]}}]
    json_tree.patch(holder, [operation("copy", "/b", source="/a"), operation("add", "/b/x/-", 2)], [])

    assert [{"a": {"x": [1]}, "b": {"x": [1, 2]}}] == holder


@pytest.mark.parametrize("pointer", ["", "/list", "/list/0"])
def test_move_onto_itself_changes_nothing(pointer: str) -> None:
    """
    A value moved to where it is stays there, the whole document included.
    """
    holder = [copy.deepcopy(DOCUMENT)]
    json_tree.patch(holder, [operation("move", pointer, source=pointer)], [])

    assert holder == [DOCUMENT]


def test_numbers_of_a_patch_are_exact() -> None:
    """
    A value that a patch brings keeps every digit.
    """
    holder = [json_values.decode(b'{"n":1.10}')]
    json_tree.patch(holder, [PatchOperation("add", at("/m"), b"12345678901234567890.10")], [])

    assert [{"n": Decimal("1.10"), "m": Decimal("12345678901234567890.10")}] == holder


# --------------------------------------------------------------------------------------- put, remove, take back


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", 9),
        ("/new", DOCUMENT | {"new": 9}),
        ("/scalar", DOCUMENT | {"scalar": 9}),
        ("/a/b/c", DOCUMENT | {"a": {"b": {"c": 9}}}),
        ("/list/1", DOCUMENT | {"list": [1, 9]}),
        ("/member/0/01", DOCUMENT | {"member": {"x": 1, "0": {"01": 9}}}),
    ],
)
def test_put_creates_objects_on_the_way(pointer: str, expected: object) -> None:
    """
    PUT replaces what is there, an array's element included, and creates the objects that lead to it.
    """
    holder: json_tree.Holder = [copy.deepcopy(DOCUMENT)]
    json_tree.put(holder, at(pointer), 9, [])

    assert [expected] == holder
    assert json_tree.find(holder, at(pointer)) == 9


@pytest.mark.parametrize(
    "pointer", ["/scalar/x", "/null/x", "/list/2", "/list/-", "/list/01", "/list/x/y", "/list/0/x"]
)
def test_put_through_a_scalar_is_a_conflict(pointer: str) -> None:
    """
    PUT makes no object of a scalar and no new element of an array, and its message names both paths.
    """
    holder = [copy.deepcopy(DOCUMENT)]
    with pytest.raises(PathConflictError, match=rf"{pointer} runs through {pointer[: pointer.rindex('/')][:5]}"):
        json_tree.put(holder, at(pointer), 9, [])

    assert holder == [DOCUMENT]


@given(documents, paths)
def test_remove_tells_whether_there_was_something(document: Json, path: DocumentPath) -> None:
    """
    Remove takes out what `find` finds, and nothing else.
    """
    holder = [copy.deepcopy(document)]
    found = json_tree.find(holder, path)
    removed = json_tree.remove(holder, path, [])

    assert removed == (found is not MISSING)
    assert (naive_remove(document, path) if removed else document) == holder[0]


@given(
    documents, st.lists(st.tuples(st.sampled_from(["put", "remove", "patch"]), paths, values), max_size=5), st.data()
)
def test_any_change_can_be_taken_back(
    document: Json, changes: list[tuple[str, DocumentPath, Json]], data: st.DataObject
) -> None:
    """
    Taking back every change since a mark leads to the very document that was there at the mark.
    """
    holder = [copy.deepcopy(document)]
    undo: json_tree.Undo = []
    seen: list[tuple[int, Json]] = [(0, snapshot(holder))]
    for kind, path, value in changes:
        try:
            if kind == "put":
                json_tree.put(holder, path, copy.deepcopy(value), undo)
            elif kind == "remove":
                json_tree.remove(holder, path, undo)
            else:
                json_tree.patch(holder, data.draw(st.lists(operations, max_size=2)), undo)
        except (PathConflictError, PatchFailedError):
            json_tree.rollback(undo, seen[-1][0])
        seen.append((len(undo), snapshot(holder)))
    for mark, expected in reversed(seen):
        json_tree.rollback(undo, mark)
        assert expected == snapshot(holder)
    assert not undo
