"""JSON patches (RFC 6902) as they come over the wire, read into `PatchOperation`s."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from cabochon.documents import json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError
from cabochon.schemas import JSONPatchAction

__all__ = ["PatchOperation", "parse"]


class PatchOperation(Struct, frozen=True, gc=False):
    """One operation of a JSON patch (RFC 6902), its pointers read.

    Attributes:
        op: "add", "remove", "replace", "move", "copy" or "test".
        path: below the patched document; a last segment `-` appends to an array.
        value: raw JSON, for add, replace and test.
        source: the `from` of move and copy.
    """

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: DocumentPath
    value: bytes | None = None
    source: DocumentPath | None = None


_actions = msgspec.json.Decoder(list[JSONPatchAction])


def parse(raw: bytes) -> tuple[PatchOperation, ...]:
    """Read a JSON patch; values stay raw. A `from` of null counts as none: so the peer's server writes it.

    Raises:
        JsonError: it is no JSON patch; the message says where and why.
    """
    try:
        actions = json_values.guarded(_actions.decode, raw)
    except JsonError as err:
        msg = f"no JSON patch (RFC 6902): {err}"
        raise JsonError(msg) from err
    return tuple(_operation(number, action) for number, action in enumerate(actions))


def _operation(number: int, action: JSONPatchAction) -> PatchOperation:
    value = bytes(action.value) or None
    source = None if action.from_field is msgspec.UNSET else action.from_field
    if action.op in {"add", "replace", "test"} and value is None:
        msg = f"no JSON patch (RFC 6902): operation {number} ({action.op}) has no 'value'"
        raise JsonError(msg)
    if action.op in {"move", "copy"} and source is None:
        msg = f"no JSON patch (RFC 6902): operation {number} ({action.op}) has no 'from'"
        raise JsonError(msg)
    try:
        path = _pointed_at(action.path)
        origin = None if source is None else _pointed_at(source)
    except DocumentPathError as err:
        msg = f"no JSON patch (RFC 6902): operation {number}: {err}"
        raise JsonError(msg) from err
    return PatchOperation(action.op, path, value, origin)


def _pointed_at(pointer: str) -> DocumentPath:
    """Read a JSON pointer; one without its leading slash is taken as OPA takes it."""
    return DocumentPath.from_pointer(pointer if not pointer or pointer.startswith("/") else f"/{pointer}")
