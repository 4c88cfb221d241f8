"""Whether two models are the same, whoever wrote them down: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["normal_form"]

_MEAN_SOMETHING_EMPTY = frozenset({"this", "wildcard"})
_OF_THE_ENGINE = frozenset({"id"})


def normal_form(model: Mapping[str, Any]) -> object:
    """Return `model` without what is not said: OpenFGA writes down every member, the language only those that matter.

    Nulls, empty texts, lists and objects are left out, except where an empty object says something. So is the id that
    OpenFGA gives, and the order of types.
    """
    members = {name: value for name, value in model.items() if name not in _OF_THE_ENGINE}
    types = members.get("type_definitions")
    if isinstance(types, list):
        members["type_definitions"] = sorted(cast("list[Any]", types), key=_type_of)
    return _said(members)


def _type_of(definition: object) -> str:
    return str(cast("dict[str, Any]", definition).get("type")) if isinstance(definition, dict) else ""


def _said(value: object) -> object:
    if isinstance(value, Mapping):
        members = {name: _said(member) for name, member in cast("Mapping[str, object]", value).items()}
        return {
            name: member
            for name, member in members.items()
            if member not in (None, "", [], {}) or (name in _MEAN_SOMETHING_EMPTY and member == {})
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_said(member) for member in cast("Sequence[object]", value)]
    return value
