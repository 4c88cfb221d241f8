"""Documents as tuples: two shapes, everything else refused by path and place."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError, UnsupportedOperationError
from cabochon_openfga.tuples import Condition, TupleKey, WireCondition, condition_of, facts_in, wire_tuple

PATH = DocumentPath(("tuples",))
KEY = TupleKey("document:plan", "viewer", "user:ann")
HOURS = {"name": "in_hours", "context": {"to": 17, "from": 9}}
ROW = {"user": "user:ann", "relation": "viewer", "object": "document:plan"}
SCHEMA: dict[str, Any] = json.loads(
    resources.files("cabochon_openfga").joinpath("tuples.schema.json").read_text("utf-8")
)


def facts(document: object) -> dict[TupleKey, Condition | None]:
    return dict(facts_in(PATH, json.dumps(document).encode()))


def complaint(document: object) -> str:
    with pytest.raises(StoreRejectedError) as caught:
        facts(document)
    assert "/tuples" == caught.value.path
    return str(caught.value)


def test_both_shapes_say_the_same() -> None:
    """A list of tuples and the compact object are two ways to write one set."""
    rows = [ROW, {**ROW, "user": "user:bob", "condition": HOURS}]
    compact = {"document:plan": {"viewer": ["user:ann", {"user": "user:bob", "condition": HOURS}]}}

    assert facts(rows) == facts(compact)
    assert {KEY: None, KEY._replace(user="user:bob"): Condition("in_hours", '{"from":9,"to":17}')} == facts(rows)


@pytest.mark.parametrize("document", SCHEMA["examples"], ids=["list", "map"])
def test_examples_of_the_schema_are_read(document: object) -> None:
    """The schema that ships shows what is accepted."""
    assert len(facts(document)) >= 2


def test_schema_and_code_agree_on_members() -> None:
    """No member is in the one and not in the other."""
    row = SCHEMA["$defs"]["list"]["items"]
    assert {*ROW, "condition"} == set(row["properties"])
    assert set(ROW) == set(row["required"])
    for member in row["required"]:
        assert "Object missing required field" in complaint([{name: ROW[name] for name in ROW if name != member}])


def test_empty_documents_own_nothing() -> None:
    """Both shapes have a way to say so."""
    assert facts([]) == facts({}) == facts({"document:plan": {"viewer": []}}) == {}


def test_same_tuple_twice_counts_once() -> None:
    """Unless its conditions differ, for a tuple has one."""
    assert {KEY: None} == facts([ROW, ROW])
    assert "$[1]: document:plan#viewer@user:ann is there before with another condition" in complaint(
        [ROW, {**ROW, "condition": HOURS}]
    )


REFUSED: list[tuple[object, str]] = [
    ("text", '/tuples: should be an array of {"user", "relation", "object"}'),
    (7, "/tuples: should be an array of"),
    (None, "/tuples: should be an array of"),
    ([ROW, 7], "at `$[1]`"),
    ([ROW, {**ROW, "user": 7}], "Expected `str`, got `int` - at `$[1].user`"),
    ([{**ROW, "extra": 1}], "unknown field `extra` - at `$[0]`"),
    ([{**ROW, "condition": {}}], "required field `name` - at `$[0].condition`"),
    ([ROW, {**ROW, "user": "ann"}], '/tuples: $[1]: user "ann" should be type:id, type:id#relation or type:*'),
    ([{**ROW, "object": "plan"}], '/tuples: $[0]: object "plan" should be type:id'),
    ([{**ROW, "object": "document:a#b"}], 'object "document:a#b" should be type:id'),
    ([{**ROW, "relation": "a b"}], 'relation "a b" should be a name without'),
    ([{**ROW, "relation": ""}], 'relation "" should be'),
    ([{**ROW, "user": "user:" + "é" * 300}], "is longer than 512 bytes"),
    ({"document:plan": ["user:ann"]}, "Expected `object`, got `array`"),
    ({"document:plan": {"viewer": "user:ann"}}, "Expected `array`, got `str`"),
    ({"document:plan": {"viewer": ["user:bob", "ann"]}}, '$["document:plan"]["viewer"][1]: user "ann"'),
    ({"document:plan": {"viewer": [{"who": "user:ann"}]}}, "`who`"),
]


@pytest.mark.parametrize(("document", "reason"), REFUSED)
def test_anything_else_is_refused_by_path_and_place(document: object, reason: str) -> None:
    """The message says where and what would be right."""
    assert reason in complaint(document)


@pytest.mark.parametrize("raw", [b"", b"[", b'{"a": ', b'[{"user": "\xff"}]'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(UnsupportedOperationError, match="/tuples: "):
        facts_in(PATH, raw)


@pytest.mark.parametrize("user", ["user:ann", "user:*", "group:staff#member", "user:a|b@c.d", "user:é"])
def test_users_of_every_kind(user: str) -> None:
    """An object, everybody of a type, a set of users."""
    assert [KEY._replace(user=user)] == list(facts([{**ROW, "user": user}]))


_contexts = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)


@given(context=_contexts)
def test_equal_contexts_are_equal_conditions(context: dict[str, Any]) -> None:
    """Whatever the order of members, and 9.0 is 9; what is written back says the same."""
    condition = condition_of(WireCondition("c", context))
    turned = dict(reversed([(name, float(value) if type(value) is int else value) for name, value in context.items()]))

    assert condition == condition_of(WireCondition("c", turned))
    assert condition is not None
    assert condition == condition_of(wire_tuple(KEY, condition).condition)


def test_tuple_is_written_as_openfga_does() -> None:
    """In messages, so that they can be searched for."""
    assert "document:plan#viewer@user:ann" == str(KEY)
