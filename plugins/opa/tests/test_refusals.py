"""Whatever OPA, or a proxy before it, answers: an error of ours comes of it, in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.errors import PathConflictError, StoreRejectedError
from cabochon_opa.client import EngineAnswer
from cabochon_opa.refusals import policy_refusal, refusal

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
nearly = st.fixed_dictionaries(
    {}, optional={"message": json_values, "code": json_values, "errors": json_values | st.lists(json_values)}
)
bodies = st.binary(max_size=300) | (json_values | nearly).map(lambda value: json.dumps(value).encode())


def check(body: bytes) -> None:
    for error in (refusal(EngineAnswer(400, body), "/a"), policy_refusal(EngineAnswer(400, body), "/a")):
        assert isinstance(error, StoreRejectedError)
        assert error.path == "/a"
        assert str(error).startswith("OPA refuses /a: ")
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 4100
        assert not str(error).endswith(": ")


@given(bodies)
def test_any_body_makes_an_error(body: bytes) -> None:
    """Bytes, JSON, and JSON that is nearly an error of OPA's."""
    check(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>\n<h1>502</h1>\n</html>",
        b"x" * 10_000_000,
        b"[" * 1_000_000,
        b'{"errors":' + b"[" * 1_000_000,
        b'{"message":"' + b"m" * 10_000_000 + b'"}',
        b'{"message":"two\\nlines\\u2028three"}',
        b'{"message":"\xff\xfe"}',
        b'{"message":"m","errors":[' + b",".join([b'{"message":"no"}'] * 100_000) + b"]}",
        b'{"code":"","message":"","errors":[]}',
        b"null",
    ],
)
def test_odd_bodies_make_an_error(body: bytes) -> None:
    """None of them is repeated at length."""
    check(body)


def test_a_page_of_a_proxy_is_told_by_its_status_and_beginning() -> None:
    """Enough to see who has answered."""
    error = refusal(EngineAnswer(413, b"<html>Request Entity Too Large</html>"), "/users")

    assert str(error) == "OPA refuses /users: 413 <html>Request Entity Too Large</html>"


def test_each_error_of_a_policy_has_file_row_and_column() -> None:
    """As editors take them to jump there; what has no place has none."""
    location = {"file": "a.rego", "row": 3, "col": 7}
    errors = [
        {"code": "rego_parse_error", "message": "unexpected eof", "location": location},
        {"code": "rego_compile_error", "message": "recursion"},
    ]
    body = json.dumps({"code": "invalid_parameter", "message": "error(s) occurred", "errors": errors}).encode()

    assert str(policy_refusal(EngineAnswer(400, body), "a.rego")) == (
        "OPA refuses a.rego: a.rego:3:7: rego_parse_error: unexpected eof; rego_compile_error: recursion"
    )


@pytest.mark.parametrize(
    "message",
    [
        "storage_invalid_patch_error: conflicting rule for data path users/allow found",
        "path users is owned by bundle acme",
        "storage_write_conflict_error: conflict",
    ],
)
def test_a_conflict_is_one_of_the_path(message: str) -> None:
    """The core tries such a write again when policies change."""
    error = refusal(EngineAnswer(400, f'{{"code":"invalid_parameter","message":"{message}"}}'.encode()), "/users")

    assert isinstance(error, PathConflictError)
