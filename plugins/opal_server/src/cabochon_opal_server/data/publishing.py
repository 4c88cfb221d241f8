"""From a data update as it is published to a record of the log."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from cabochon import DocumentPath, DocumentPathError, NewRecord
from cabochon.documents import json_patch
from cabochon.documents.json_values import JsonError
from cabochon.schemas import DataSourceEntry, DataUpdate, UpdateCallback, callback_fault
from cabochon_opal_server.pubsub.topics import TopicLimits, expanded

__all__ = ["InvalidUpdateError", "UpdateLimits", "prepared", "record_of"]

_LONGEST_ID = 1024
_LONGEST_REASON = 16 * 1024
_LONGEST_PATH = 8 * 1024
_LONGEST_URL = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLimits:
    """What an update may be.

    Attributes:
        topics: of all entries.
        entries: how many.
        callbacks: how many.
        topics_bytes: characters of all entries' topics, with those above: each entry carries its own.
    """

    topics: TopicLimits = field(default_factory=TopicLimits)
    entries: int = 100_000
    callbacks: int = 10_000
    topics_bytes: int = 32 * 1024 * 1024


_USUAL_LIMITS = UpdateLimits()


class InvalidUpdateError(ValueError):
    """An update that no client could carry out; `location` says where in the body, like `("entries", 0, "data")`."""

    def __init__(self, message: str, location: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.location = location


def prepared(update: DataUpdate, limits: UpdateLimits = _USUAL_LIMITS) -> DataUpdate:
    """Check an update and make it what clients get: with an id, and each entry with all the topics above its own.

    An inline document that is null counts as none and is left out, for the peer's clients refuse it.

    Raises:
        InvalidUpdateError: a path is none or too deep, a patch is no JSON patch, or a callback's configuration is none
            of an HTTP request: the peer's clients refuse the whole update then. Or it is more than `limits` say.
    """
    _check(update, limits)
    return replace(
        update,
        id=update.id if update.id is not None else uuid.uuid4().hex,
        entries=tuple(_entry(index, entry) for index, entry in enumerate(update.entries)),
        callback=UpdateCallback(
            callbacks=tuple(_callback(index, target) for index, target in enumerate(update.callback.callbacks))
        ),
    )


def _check(update: DataUpdate, limits: UpdateLimits) -> None:
    """See that it is not too much, before anything is made of it."""
    _check_text(update.id or "", _LONGEST_ID, ("id",))
    _check_text(update.reason or "", _LONGEST_REASON, ("reason",))
    if len(update.entries) > limits.entries:
        raise InvalidUpdateError(f"there are more than OPAL_UPDATE_MAX_ENTRIES={limits.entries} of them", ("entries",))
    if len(update.callback.callbacks) > limits.callbacks:
        raise InvalidUpdateError(f"there are more than {limits.callbacks} of them", ("callback", "callbacks"))
    topics: set[str] = set()
    carried = 0
    for index, entry in enumerate(update.entries):
        _check_text(entry.dst_path, _LONGEST_PATH, ("entries", index, "dst_path"))
        _check_text(entry.url, _LONGEST_URL, ("entries", index, "url"))
        fault = limits.topics.fault(entry.topics)
        # What it becomes with all levels above, without making it.
        carried += sum(len(topic) * (1 + topic.count("/")) for topic in entry.topics)
        if fault is None and carried <= limits.topics_bytes:
            topics.update(expanded(entry.topics))
        if fault is None and (carried > limits.topics_bytes or len(topics) > limits.topics.of_update):
            fault = f"the entries go to more topics than OPAL_UPDATE_MAX_TOPICS={limits.topics.of_update}"
        if fault is not None:
            raise InvalidUpdateError(fault, ("entries", index, "topics"))


def _check_text(text: str, longest: int, where: tuple[str | int, ...]) -> None:
    if len(text) > longest:
        raise InvalidUpdateError(f"it has more than {longest} characters", where)


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
