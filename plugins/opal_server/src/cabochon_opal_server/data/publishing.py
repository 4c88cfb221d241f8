"""From a data update as it is published to a record of the log."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from msgspec.structs import replace

from cabochon import DocumentPath, DocumentPathError, NewRecord
from cabochon.documents import json_patch
from cabochon.documents.json_values import JsonError
from cabochon.schemas import DataSourceEntry, DataUpdate, UpdateCallback, callback_fault
from cabochon_opal_server.pubsub.topics import expanded

__all__ = ["InvalidUpdateError", "prepared", "record_of"]


class InvalidUpdateError(ValueError):
    """An update that no client could carry out; `location` says where in the body, like `("entries", 0, "data")`."""

    def __init__(self, message: str, location: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.location = location


def prepared(update: DataUpdate) -> DataUpdate:
    """Check an update and make it what clients get: with an id, and each entry with all the topics above its own.

    An inline document that is null counts as none and is left out, for the peer's clients refuse it.

    Raises:
        InvalidUpdateError: a path is none or too deep, a patch is no JSON patch, or a callback's configuration is none
            of an HTTP request: the peer's clients refuse the whole update then.
    """
    return replace(
        update,
        id=update.id if update.id is not None else uuid.uuid4().hex,
        entries=tuple(_entry(index, entry) for index, entry in enumerate(update.entries)),
        callback=UpdateCallback(
            callbacks=tuple(_callback(index, target) for index, target in enumerate(update.callback.callbacks))
        ),
    )


def record_of(update: DataUpdate) -> NewRecord:
    """Write a prepared update; it goes to the topics of all its entries."""
    topics = tuple(dict.fromkeys(topic for entry in update.entries for topic in entry.topics))
    return NewRecord(kind="data", topics=topics, body=msgspec.json.encode(update))


def _callback(index: int, target: str | tuple[Any, ...]) -> str | tuple[Any, ...]:
    """Check a callback, and make a plain URL of a list that holds just one: the peer's clients know no such list."""
    if isinstance(target, str):
        return target
    url, *config = target
    fault = callback_fault(url, *config) if config else None
    if fault is not None:
        raise InvalidUpdateError(fault, ("callback", "callbacks", index, 1))
    return target if config else url


def _entry(index: int, entry: DataSourceEntry) -> DataSourceEntry:
    try:
        DocumentPath.parse(entry.dst_path)
    except DocumentPathError as err:
        raise InvalidUpdateError(str(err), ("entries", index, "dst_path")) from err
    inline = entry.inline
    if entry.save_method == "PATCH" and inline is not None:
        try:
            json_patch.parse(inline)
        except JsonError as err:
            message = f"'data' should be a JSON patch (RFC 6902) when save_method is PATCH: {err}"
            raise InvalidUpdateError(message, ("entries", index, "data")) from err
    topics = expanded(entry.topics)
    if inline is None and entry.data is not msgspec.UNSET:
        return replace(entry, topics=topics, data=msgspec.UNSET)
    return entry if topics == entry.topics else replace(entry, topics=topics)
