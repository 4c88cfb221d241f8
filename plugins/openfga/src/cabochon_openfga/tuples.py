"""Documents as relationship tuples, and tuples as OpenFGA writes them: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from cabochon.documents.json_values import JsonError, guarded
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError, UnsupportedOperationError

__all__ = ["Condition", "TupleKey", "WireCondition", "WireTuple", "condition_of", "facts_in", "wire_tuple"]

_OBJECT = re.compile(r"[^:#@\s]{1,254}:[^:#\s]+")
_RELATION = re.compile(r"[^:#@\s]+")
_USER = re.compile(r"[^:#@\s]{1,254}:[^:#\s]+(#[^:#@\s]+)?")
_LONGEST_SHOWN = 80
_MOST_BYTES = {"object": 256, "relation": 50, "user": 512}
_EXPECTED = {
    "object": (_OBJECT, "type:id"),
    "relation": (_RELATION, "a name without :, #, @ and spaces"),
    "user": (_USER, "type:id, type:id#relation or type:*"),
}
_SHAPES = 'an array of {"user", "relation", "object"}, or an object of {object: {relation: [user, ...]}}'


class TupleKey(NamedTuple):
    """What makes a tuple the same tuple to OpenFGA."""

    object: str
    relation: str
    user: str

    def __str__(self) -> str:
        """Write it as OpenFGA does."""
        return f"{self.object}#{self.relation}@{self.user}"


class Condition(NamedTuple):
    """The condition of a tuple: its name, and its context as JSON in a form that is the same for equal contexts."""

    name: str
    context: str


class WireCondition(msgspec.Struct, forbid_unknown_fields=True):
    """A condition as OpenFGA has it."""

    name: str
    context: dict[str, Any] | None = None


class WireTuple(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A tuple as OpenFGA has it."""

    user: str
    relation: str
    object: str
    condition: WireCondition | None = None


class _Grantee(msgspec.Struct, forbid_unknown_fields=True):
    user: str
    condition: WireCondition | None = None


_Compact: TypeAlias = dict[str, dict[str, list[str | _Grantee]]]

_list_of_tuples = msgspec.json.Decoder(list[WireTuple])
_compact = msgspec.json.Decoder(_Compact)


def facts_in(path: DocumentPath, value: bytes) -> Mapping[TupleKey, Condition | None]:
    """Read the tuples of a document, in either of its two shapes; the same tuple twice counts once.

    Raises:
        UnsupportedOperationError: it has neither shape, or a tuple is none; the message names the path and the place.
        StoreRejectedError: it has one tuple with two conditions.
    """
    facts: dict[TupleKey, Condition | None] = {}
    for place, key, condition in _tuples(path, value):
        wrong = _wrong_with(key)
        if wrong:
            raise UnsupportedOperationError(f"{path}: {place}: {wrong}", path=str(path))
        if facts.setdefault(key, condition) != condition:
            raise StoreRejectedError(
                f"{path}: {place}: {key} is there before with another condition, and a tuple has one", path=str(path)
            )
    return facts


def _tuples(path: DocumentPath, value: bytes) -> Iterator[tuple[str, TupleKey, Condition | None]]:
    begins = value.lstrip()[:1]
    if begins not in {b"[", b"{"}:
        raise UnsupportedOperationError(f"{path}: should be {_SHAPES}", path=str(path))
    try:
        if begins == b"[":
            for index, row in enumerate(guarded(_list_of_tuples.decode, value)):
                yield f"$[{index}]", TupleKey(row.object, row.relation, row.user), condition_of(row.condition)
            return
        for of, relations in guarded(_compact.decode, value).items():
            for relation, users in relations.items():
                for index, user in enumerate(users):
                    place = f"$[{json.dumps(of)}][{json.dumps(relation)}][{index}]"
                    if isinstance(user, str):
                        yield place, TupleKey(of, relation, user), None
                    else:
                        yield place, TupleKey(of, relation, user.user), condition_of(user.condition)
    except JsonError as err:
        raise UnsupportedOperationError(f"{path}: {err}; should be {_SHAPES}", path=str(path)) from err


def _wrong_with(key: TupleKey) -> str:
    for name, text in zip(("object", "relation", "user"), key, strict=True):
        pattern, expected = _EXPECTED[name]
        if not pattern.fullmatch(text):
            return f"{name} {_short(text)} should be {expected}"
        if len(text) > _MOST_BYTES[name] // 4 and len(text.encode()) > _MOST_BYTES[name]:
            return f"{name} {_short(text)} is longer than {_MOST_BYTES[name]} bytes"
    return ""


def _short(text: str) -> str:
    return json.dumps(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...", ensure_ascii=False)


def condition_of(condition: WireCondition | None) -> Condition | None:
    """Give a condition the form in which equal ones are equal."""
    if condition is None or not condition.name:
        return None
    context = _plain(condition.context or {})
    return Condition(condition.name, json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """OpenFGA keeps a context's numbers as doubles, and 9 is 9.0 there."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(member) for member in cast("list[Any]", value)]
    return value


def wire_tuple(key: TupleKey, condition: Condition | None = None) -> WireTuple:
    """Return the tuple as OpenFGA takes it."""
    written = None if condition is None else WireCondition(condition.name, json.loads(condition.context))
    return WireTuple(user=key.user, relation=key.relation, object=key.object, condition=written)
