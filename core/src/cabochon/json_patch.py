"""JSON patches (RFC 6902) as they come over the wire, read into `PatchOperation`s."""

from __future__ import annotations

import msgspec

from cabochon.document_path import DocumentPath
from cabochon.errors import DocumentPathError
from cabochon.json_values import JsonError
from cabochon.policy_store import PatchOperation
from cabochon.schemas import JSONPatchAction

__all__ = ["parse"]

_actions = msgspec.json.Decoder(list[JSONPatchAction])


def parse(raw: bytes) -> tuple[PatchOperation, ...]:
    """Read a JSON patch; values stay raw.

    Raises:
        JsonError: it is no JSON patch; the message says where and why.
    """
    try:
        actions = _actions.decode(raw)
    except msgspec.DecodeError as err:
        msg = f"no JSON patch (RFC 6902): {err}"
        raise JsonError(msg) from err
    return tuple(_operation(number, action) for number, action in enumerate(actions))


def _operation(number: int, action: JSONPatchAction) -> PatchOperation:
    value = bytes(action.value) or None
    source = action.from_field
    if action.op in {"add", "replace", "test"} and value is None:
        msg = f"no JSON patch (RFC 6902): operation {number} ({action.op}) has no 'value'"
        raise JsonError(msg)
    if action.op in {"move", "copy"} and source is msgspec.UNSET:
        msg = f"no JSON patch (RFC 6902): operation {number} ({action.op}) has no 'from'"
        raise JsonError(msg)
    try:
        path = DocumentPath.from_pointer(action.path)
        origin = None if source is msgspec.UNSET else DocumentPath.from_pointer(source)
    except DocumentPathError as err:
        msg = f"no JSON patch (RFC 6902): operation {number}: {err}"
        raise JsonError(msg) from err
    return PatchOperation(action.op, path, value, origin)
