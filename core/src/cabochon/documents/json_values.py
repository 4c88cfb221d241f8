"""Raw JSON: checked, split, decoded without loss, and hashed as the peer does.

Documents travel through Cabochon as the bytes they came in. Where a value must be looked into, numbers keep their
exact value: integers of any size stay `int`, every other number becomes a `decimal.Decimal`, never a float.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

__all__ = [
    "JsonError",
    "JsonTree",
    "check",
    "check_text",
    "decode",
    "elements",
    "encode",
    "guarded",
    "members",
    "peer_hash",
    "same",
]

T = TypeVar("T")
JsonTree: TypeAlias = Any
"""A decoded JSON value: dict, list, str, int, Decimal, bool or None; `msgspec.Raw` for a number that fits neither."""

_raw = msgspec.json.Decoder(msgspec.Raw)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_lossless = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


class JsonError(ValueError):
    """The bytes are not what was asked for; the message says where they go wrong, never what they hold."""


def guarded(parse: Callable[[bytes], T], raw: bytes) -> T:
    """Return `parse(raw)`; whatever msgspec or Python raises because of what `raw` holds becomes a `JsonError`.

    Raises:
        JsonError: `raw` is no UTF-8, no JSON, not of the type that `parse` asks for, or nested too deeply.
    """
    try:
        if not raw.isascii():
            raw.decode()
        return parse(raw)
    except UnicodeDecodeError as err:
        msg = f"not UTF-8 (byte {err.start})"
        raise JsonError(msg) from err
    except msgspec.DecodeError as err:
        raise JsonError(str(err)) from err
    except RecursionError as err:
        msg = "nested too deeply"
        raise JsonError(msg) from err


def check(raw: bytes) -> bytes:
    """Return `raw` without the space around it if it is one JSON document in UTF-8 (RFC 8259).

    Raises:
        JsonError: it is not.
    """
    return bytes(guarded(_raw.decode, raw))


def check_text(raw: bytes) -> None:
    """Make sure that JSON which was parsed as part of a frame is UTF-8 throughout: frames keep it unread.

    Raises:
        JsonError: it is not.
    """
    guarded(_nothing, raw)


def _nothing(_raw: bytes) -> None:
    """Parse nothing."""


def members(raw: bytes) -> dict[str, bytes]:
    """Split a JSON object into its members, each still raw.

    Raises:
        JsonError: it is no JSON object.
    """
    return {key: bytes(value) for key, value in guarded(_members.decode, raw).items()}


def elements(raw: bytes) -> list[bytes]:
    """Split a JSON array into its elements, each still raw.

    Raises:
        JsonError: it is no JSON array.
    """
    return [bytes(value) for value in guarded(_elements.decode, raw)]


def decode(raw: bytes) -> JsonTree:
    """Decode without loss: numbers become `int` or `decimal.Decimal`.

    Whatever `check` accepts can be decoded, unless this is called so deep in the stack that no room is left for its
    nesting.

    Raises:
        JsonError: it is no JSON.
    """
    try:
        return guarded(_lossless.decode, raw)
    except (JsonError, InvalidOperation):
        # No JSON at all, or a number that no sane document has: longer than 4,300 digits, or beyond 10^(10^18).
        return guarded(_decode_any_number, check(raw))


def same(one: bytes, other: bytes) -> bool:
    """Tell whether two raw JSON values are equal: the same numbers however written, and `true` is not 1.

    Raises:
        JsonError: one of them is no JSON.
    """
    pairs: list[tuple[JsonTree, JsonTree]] = [(decode(one), decode(other))]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            a, b = cast("dict[str, JsonTree]", a), cast("dict[str, JsonTree]", b)
            if a.keys() != b.keys():
                return False
            pairs.extend((a[key], b[key]) for key in a)
        elif isinstance(a, list) and isinstance(b, list):
            a, b = cast("list[JsonTree]", a), cast("list[JsonTree]", b)
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif isinstance(a, bool) is not isinstance(b, bool) or a != b:
            return False
    return True


def _decode_any_number(raw: bytes) -> JsonTree:
    return json.loads(raw, parse_int=_integer, parse_float=_fraction)


def _integer(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


def _fraction(text: str) -> Decimal | msgspec.Raw:
    try:
        return Decimal(text)
    except InvalidOperation:
        return msgspec.Raw(text.encode())


def encode(value: object) -> bytes:
    """Encode what `decode` returned (or any plain JSON value).

    Raises:
        JsonError: it is nested too deeply, as patches can make a document.
    """
    try:
        return _encoder.encode(value)
    except RecursionError:
        msg = "nested too deeply"
        raise JsonError(msg) from None


def peer_hash(raw: bytes) -> str:
    r"""Hash a document as the peer's reports do.

    SHA-256, in hex, of the text that Python's `json.dumps` writes with its defaults (keys in the order received,
    `\\u` escapes, `", "` and `": "`); a string is hashed without quotes. It is empty, as the peer's, where Python can't
    read the document: an integer of more than 4,300 digits, or too deep a nesting.
    """
    try:
        value: object = json.loads(raw)
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):
        return ""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
