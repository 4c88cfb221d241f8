"""A JSON patch is read as RFC 6902 says, whoever wrote it, and its values stay raw."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon import DocumentPath, PatchOperation
from cabochon.documents import json_patch
from cabochon.documents.json_values import JsonError

A, B = DocumentPath(("a",)), DocumentPath(("b",))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"op":"add","path":"/a","value": {"n" : 1.10} }', PatchOperation("add", A, b'{"n" : 1.10}')),
        (b'{"op":"add","path":"/a","value":null}', PatchOperation("add", A, b"null")),
        (b'{"value":1,"path":"/a/-","op":"replace"}', PatchOperation("replace", DocumentPath(("a", "-")), b"1")),
        (b'{"op":"test","path":"","value":[]}', PatchOperation("test", DocumentPath(), b"[]")),
        (b'{"op":"remove","path":"/a"}', PatchOperation("remove", A)),
        (b'{"op":"move","path":"/a","from":"/b"}', PatchOperation("move", A, None, B)),
        (b'{"op":"copy","path":"/a","from":""}', PatchOperation("copy", A, None, DocumentPath())),
        (b'{"op":"remove","path":"/a","comment":{}}', PatchOperation("remove", A)),
        (b'{"op":"move","path":"a","from":"b"}', PatchOperation("move", A, None, B)),
    ],
)
def test_operation_is_read(raw: bytes, expected: PatchOperation) -> None:
    """
    Pointers are read, be it without the leading slash, the value is kept as it came, and unknown members are ignored.
    """
    assert json_patch.parse(b" [" + raw + b", " + raw + b"] ") == (expected, expected)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"op": "add", "path": "/a", "value": 1, "from": None}, ("add", b"1", None)),
        ({"op": "remove", "path": "/a", "value": None, "from": None}, ("remove", b"null", None)),
        ({"op": "move", "path": "/a", "value": None, "from": "/b"}, ("move", b"null", B)),
    ],
    ids=["add", "remove", "move"],
)
def test_operation_is_read_as_the_peers_server_writes_it(
    wire: dict[str, Any], expected: tuple[str, bytes, DocumentPath | None]
) -> None:
    """
    The peer's server publishes every member of an operation, with null for those it has not.
    """
    (operation,) = json_patch.parse(json.dumps([wire]).encode())

    assert expected == (operation.op, operation.value, operation.source)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{}", "Expected `array`"),
        (b"null", "Expected `array`"),
        (b"[1]", r"Expected `object`, got `int` - at `\$\[0\]`"),
        (b'[{"op":"remove"}]', "missing required field `path`"),
        (b'[{"path":"/a"}]', "missing required field `op`"),
        (b'[{"op":"upsert","path":"/a"}]', "Invalid enum value 'upsert'"),
        (b'[{"op":"remove","path":"/a"},{"op":"add","path":"/a"}]', r"operation 1 \(add\) has no 'value'"),
        (b'[{"op":"test","path":"/a"}]', r"operation 0 \(test\) has no 'value'"),
        (b'[{"op":"move","path":"/a"}]', r"operation 0 \(move\) has no 'from'"),
        (b'[{"op":"copy","path":"/a","from":null}]', r"operation 0 \(copy\) has no 'from'"),
        (b'[{"op":"remove","path":"a~"}]', "operation 0: JSON pointer '/a~' has"),
        (b'[{"op":"copy","path":"/a","from":"/~"}]', "operation 0: JSON pointer '/~' has"),
        (b'[{"op":"add","path":"/a","value":"\xff"}]', "not UTF-8"),
        (b'[{"op":"add","path":"/\xff","value":1}]', "not UTF-8"),
        (b'[{"op":"add","path":"/a","value":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested too deeply"),
        (b'[{"op":"add","path":"/a","value":1}', "truncated"),
    ],
    ids=lambda case: repr(case[:48]),
)
def test_what_is_no_patch_is_refused(raw: bytes, reason: str) -> None:
    """
    What RFC 6902 does not know is a `JsonError` that says which operation is wrong, and how.
    """
    with pytest.raises(JsonError, match=rf"no JSON patch \(RFC 6902\): .*{reason}"):
        json_patch.parse(raw)


@given(st.lists(st.sampled_from([b'{"op":', b'"add"', b',"path":', b'"/a"', b',"value":', b"1", b"}", b"[", b"]"])))
def test_any_bytes_are_a_patch_or_refused(pieces: list[bytes]) -> None:
    """
    Reading a patch raises nothing but a `JsonError`.
    """
    try:
        operations = json_patch.parse(b"".join(pieces))
    except JsonError:
        return
    assert all(operation == PatchOperation("add", A, b"1") for operation in operations)
