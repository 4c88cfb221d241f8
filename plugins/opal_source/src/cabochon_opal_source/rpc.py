"""The JSON RPC that OPAL speaks over its WebSocket: messages in, messages out, nothing else.

A message is `{"request": {"method", "arguments", "call_id"}, "response": null}` or `{"request": null, "response":
{"result", "result_type", "call_id"}}`; the shapes are those of the peer's `fastapi_websocket_rpc.schemas`. What nearly
every message of a busy server is, a data update, is decoded in one go; the others take a second one.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from cabochon.documents.json_values import guarded
from cabochon.schemas import DataUpdate, PolicyUpdateMessage

__all__ = [
    "Message",
    "Notification",
    "NotifiedSubscription",
    "OtherMessage",
    "Subscribed",
    "answer",
    "call",
    "new_id",
    "parse",
    "read_arguments",
    "read_data_update",
    "read_policy_update",
    "read_subscribed",
]

_NULL = Raw(b"null")


class NotifiedSubscription(Struct, frozen=True, gc=False):
    """What a notification is for; `number` is its place in the log of a server of ours, 0 if it is in none."""

    topic: str
    number: int = 0


class _NotifiedUpdate(Struct, frozen=True, gc=False):
    subscription: NotifiedSubscription
    data: DataUpdate


class _NotifyRequest(Struct, frozen=True, gc=False):
    method: Literal["notify"]
    arguments: _NotifiedUpdate
    call_id: Raw = _NULL


class Notification(Struct, frozen=True, gc=False):
    """A notification whose data is a data update."""

    request: _NotifyRequest


class NotifyArguments(Struct, frozen=True):
    """A notification whose data is anything."""

    subscription: NotifiedSubscription
    data: Raw = _NULL


class Subscribed(Struct, frozen=True):
    """The answer to `subscribe` with `resume`: docs/reference/protocol.md."""

    log: str
    number: int
    resumed: bool


class _Request(Struct, frozen=True):
    method: str
    arguments: Raw = _NULL
    call_id: Raw = _NULL


class _Response(Struct, frozen=True):
    result: Any = None
    call_id: str | None = None


class OtherMessage(Struct, frozen=True):
    """Any other call, or the answer to one of ours."""

    request: _Request | None = None
    response: _Response | None = None


Message: TypeAlias = Notification | OtherMessage

_notification = msgspec.json.Decoder(Notification)
_other = msgspec.json.Decoder(OtherMessage)
_arguments = msgspec.json.Decoder(NotifyArguments)
_data_update = msgspec.json.Decoder(DataUpdate)
_policy_update = msgspec.json.Decoder(PolicyUpdateMessage)


def parse(raw: bytes) -> Message:
    """Parse a message; inline data stays raw.

    Raises:
        JsonError: it is no message of this protocol.
    """
    return guarded(_parse, raw)


def _parse(raw: bytes) -> Message:
    try:
        return _notification.decode(raw)
    except msgspec.ValidationError:
        return _other.decode(raw)


def read_arguments(raw: Raw) -> NotifyArguments:
    """Read the arguments of a notification that is no data update.

    Raises:
        JsonError: they are not those of a notification.
    """
    return guarded(_arguments.decode, bytes(raw))


def read_subscribed(result: object) -> Subscribed | None:
    """Read the answer to `subscribe` with `resume`; None if it is none."""
    try:
        return msgspec.convert(result, Subscribed)
    except msgspec.ValidationError:
        return None


def read_data_update(raw: Raw) -> DataUpdate:
    """Read a data update.

    Raises:
        JsonError: it is none.
    """
    return guarded(_data_update.decode, bytes(raw))


def read_policy_update(raw: Raw) -> PolicyUpdateMessage:
    """Read a policy update message.

    Raises:
        JsonError: it is none.
    """
    return guarded(_policy_update.decode, bytes(raw))


def answer(call_id: Raw, result: str) -> bytes:
    """Write the answer to a call, under the id that it came with.

    Example:
        >>> answer(Raw(b'"7"'), "pong")
        b'{"request":null,"response":{"result":"pong","result_type":"str","call_id":"7"}}'
    """
    return b'{"request":null,"response":{"result":"%b","result_type":"str","call_id":%b}}' % (result.encode(), call_id)


def call(method: str, arguments: object, call_id: str) -> bytes:
    """Write a call."""
    request = {"method": method, "arguments": arguments, "call_id": call_id}
    return msgspec.json.encode({"request": request, "response": None})


def new_id() -> str:
    """Make an id of a call or a channel, as the peer does."""
    return uuid.uuid4().hex
