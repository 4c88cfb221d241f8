"""Read a document of facts, and say where it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from cabochon.documents import json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError, UnsupportedOperationError

__all__ = ["facts_of"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")


def facts_of(path: DocumentPath, value: bytes, read: Callable[[Any], tuple[K, A]]) -> dict[K, A]:
    """Read a JSON array of facts; the same fact twice counts once.

    Args:
        path: where the document is written.
        value: raw JSON.
        read: gives key and attribute of one element, and raises `ValueError` with what is wrong with it.

    Raises:
        UnsupportedOperationError: it is no array, or an element is no fact: the message names the path and the index.
        StoreRejectedError: it is no JSON, or has one fact with two attributes.
    """
    try:
        rows = json_values.decode(value)
    except JsonError as err:
        msg = f"{path}: no JSON: {err}"
        raise StoreRejectedError(msg, path=str(path)) from err
    if not isinstance(rows, list):
        msg = f"{path}: expected an array of facts"
        raise UnsupportedOperationError(msg, path=str(path))
    facts: dict[K, A] = {}
    for index, row in enumerate(cast("list[Any]", rows)):
        try:
            key, attribute = read(row)
        except ValueError as err:
            msg = f"{path}: element {index}: {err}"
            raise UnsupportedOperationError(msg, path=str(path)) from err
        if facts.setdefault(key, attribute) != attribute:
            msg = f"{path}: element {index}: {key} is in the array before, with another attribute"
            raise StoreRejectedError(msg, path=str(path))
    return facts
