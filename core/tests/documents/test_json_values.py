"""Raw JSON stays what it is: every number keeps its value, and what is no JSON says where."""

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.documents import json_values
from cabochon.documents.json_values import JsonError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
NO_JSON = [
    b"",
    b" ",
    b"{",
    b"[1,]",
    b'{"a":1,}',
    b"01",
    b"1 2",
    b"NaN",
    b"Infinity",
    b"'a'",
    b'"\x01"',
    b'"\xff"',
    b'"\\ud800"',
    b"\xef\xbb\xbf1",
    b"[" * 100_000 + b"]" * 100_000,
]


@given(values)
def test_json_survives_a_round_trip(value: object) -> None:
    """
    What is encoded decodes to an equal value, whether we or Python's own `json` wrote it.
    """
    for raw in (json_values.encode(value), json.dumps(value).encode()):
        assert json_values.check(raw) == raw
        assert value == json.loads(json_values.encode(json_values.decode(raw)))


@given(numbers)
def test_number_keeps_its_value(text: str) -> None:
    """
    A number of any size and precision is as exact after decoding and encoding as before.
    """
    for number in (json_values.decode(text.encode()), json_values.decode(b"[" + text.encode() + b"]")[0]):
        assert isinstance(number, int | Decimal)
        assert Decimal(text) == Decimal(json_values.encode(number).decode())


@pytest.mark.parametrize(
    "raw", [b"1" * 5_000, b"-" + b"9" * 5_000, b"1e99999999999999999999", b"-1E-9999999999999999999"]
)
def test_number_that_python_can_not_hold_is_kept(raw: bytes) -> None:
    """
    Whatever passes `check` can be decoded, or a patch of such a document would stop the sync.
    """
    document = b'{"n":[' + raw + b'],"x":1.10}'
    decoded = json_values.decode(json_values.check(document))

    assert json_values.encode(decoded) == document


@pytest.mark.parametrize("raw", NO_JSON, ids=lambda raw: repr(raw[:12]))
def test_no_json_is_refused(raw: bytes) -> None:
    """
    What is not one JSON document in UTF-8 is a `JsonError` that does not repeat it.
    """
    for read in (json_values.check, json_values.decode, json_values.members, json_values.elements):
        with pytest.raises(JsonError) as caught:
            read(raw)
        assert len(str(caught.value)) < 100


@given(st.binary(max_size=20) | st.lists(st.sampled_from(b'[]{}",:0-.eE+nultrfase\\ \xc3\xa9')).map(bytes))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    """
    No bytes make `check` or `decode` raise anything but a `JsonError`, and both agree on what is JSON.
    """
    try:
        checked = json_values.check(raw)
    except JsonError:
        with pytest.raises(JsonError):
            json_values.decode(raw)
        return
    assert json_values.decode(raw) == json_values.decode(checked)


def test_check_strips_the_space_around() -> None:
    """
    Space around a document is no part of it, space inside stays.
    """
    assert json_values.check(b' \n\t{"a" : 1}\r\n ') == b'{"a" : 1}'


@given(st.dictionaries(texts, values, max_size=4), st.lists(values, max_size=4))
def test_members_and_elements_stay_raw(document: dict[str, object], array: list[object]) -> None:
    """
    An object and an array are split into documents that are not touched.
    """
    split = json_values.members(json.dumps(document).encode())

    assert {key: json.dumps(value).encode() for key, value in document.items()} == split
    assert [json.dumps(value).encode() for value in array] == json_values.elements(json.dumps(array).encode())


@pytest.mark.parametrize(("read", "raw"), [(json_values.members, b"[]"), (json_values.elements, b"{}")])
def test_members_of_an_array_are_refused(read: Callable[[bytes], object], raw: bytes) -> None:
    """
    Only an object has members, and only an array has elements.
    """
    with pytest.raises(JsonError, match="Expected"):
        read(raw)


@given(values.filter(lambda value: not isinstance(value, str)))
def test_peer_hash_is_that_of_pythons_json(value: object) -> None:
    """
    The hash in a report is that of `json.dumps` with its defaults, whatever the spelling that came.
    """
    expected = hashlib.sha256(json.dumps(value).encode()).hexdigest()

    assert expected == json_values.peer_hash(json.dumps(value, indent=1, ensure_ascii=False).encode())
    assert expected == json_values.peer_hash(json.dumps(value, separators=(",", ":")).encode())


@given(texts)
def test_peer_hash_of_a_text_is_that_of_its_characters(text: str) -> None:
    """
    A string is hashed without quotes and escapes.
    """
    assert hashlib.sha256(text.encode()).hexdigest() == json_values.peer_hash(json.dumps(text).encode())


@pytest.mark.parametrize("raw", [b"1" * 5_000, b"[" * 100_000 + b"]" * 100_000], ids=["long", "deep"])
def test_peer_hash_is_empty_where_python_can_not_read(raw: bytes) -> None:
    """
    A document that Python can't read has no hash, and stops no report.
    """
    assert json_values.peer_hash(raw) == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1, "b": [true]}', b'{"b":[true],"a":1.0}', True),
        (b'{"a": true}', b'{"a": 1}', False),
        (b"[0]", b"[false]", False),
        (b"[1]", b"[1, 2]", False),
        (b'{"a": null}', b"{}", False),
        (b"[" * 900 + b"]" * 900, b"[" * 900 + b"]" * 900, True),
    ],
)
def test_values_are_compared_as_json_has_them(*, one: bytes, other: bytes, same: bool) -> None:
    """
    Numbers by their value, and a boolean is no number.
    """
    assert same is json_values.same(one, other)
