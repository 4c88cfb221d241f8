"""The JSON RPC that OPAL speaks over its WebSocket, as the server sees it.

A message is `{"request": {"method", "arguments", "call_id"}, "response": null}` or `{"request": null, "response":
{"result", "result_type", "call_id"}}`; the shapes are those of the peer's `fastapi_websocket_rpc.schemas`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from cabochon.documents.json_values import guarded

__all__ = [
    "Counted",
    "Progress",
    "Publication",
    "Resume",
    "RpcCall",
    "Topics",
    "answer",
    "arguments_as",
    "notification",
    "read",
    "request",
]

T = TypeVar("T")

_NULL = Raw(b"null")


class RpcCall(Struct, frozen=True, gc=False):
    """What a client calls."""

    method: str
    arguments: Raw = _NULL
    call_id: Raw = _NULL


class _Message(Struct, frozen=True, gc=False):
    request: RpcCall | None = None
    response: Raw = _NULL


class Resume(Struct, frozen=True, gc=False):
    """How far an agent is: it has every update up to `number` of the log `log`."""

    log: str
    number: int


class Topics(Struct, frozen=True):
    """The arguments of `subscribe` and `unsubscribe`.

    Attributes:
        topics: which.
        resume: sent by an agent that wants to be told what it missed, and the number to go on from (an extension of
            ours: see docs/reference/protocol.md); an empty log asks for that number alone.
    """

    topics: tuple[str, ...] = ()
    resume: Resume | None = None


class Publication(Struct, frozen=True):
    """The arguments of `publish`.

    Attributes:
        topics: which; one may come without a list.
        data: what is told.
        notifier_id: who says it, if that is not this connection: it is told as well then.
    """

    topics: tuple[str, ...] | str = ()
    data: Raw = _NULL
    notifier_id: str | None = None

    @property
    def listed(self) -> tuple[str, ...]:
        """The topics, as a list."""
        return (self.topics,) if isinstance(self.topics, str) else self.topics


class Counted(Struct, frozen=True):
    """What a client publishes that wants to be counted: its name, its topics, its own id of the connection."""

    client_id: str
    topics: tuple[str, ...] = ()
    rpc_id: str | None = None


class Progress(Struct, frozen=True):
    """The arguments of `progress` (an extension of ours), by which an agent tells how far it has come.

    Attributes:
        ended: every update up to this number has ended.
        above: higher numbers that have ended too.
        failed: why updates that ended were not fetched or saved, by number.
        policy_hash: the commit of the policies in force.
        ready, healthy: as in `system.opal`.
    """

    ended: int
    above: tuple[int, ...] = ()
    failed: dict[int, str] = {}
    policy_hash: str | None = None
    ready: bool | None = None
    healthy: bool | None = None


_message = msgspec.json.Decoder(_Message)


def read(raw: bytes) -> RpcCall | None:
    """Read a message; None if it is the answer to a call.

    Raises:
        JsonError: it is no message of this protocol.
    """
    return guarded(_message.decode, raw).request


def arguments_as(model: type[T], call: RpcCall) -> T:
    """Read a call's arguments.

    Raises:
        JsonError: they are others.
    """
    return guarded(lambda raw: msgspec.json.decode(raw, type=model), bytes(call.arguments))


def answer(call_id: Raw, result: Any, kind: str) -> bytes:  # noqa: ANN401 - whatever the method gives
    """Write the answer to a call, under the id that it came with.

    Example:
        >>> answer(Raw(b'"7"'), "pong", "str")
        b'{"request":null,"response":{"result":"pong","result_type":"str","call_id":"7"}}'
    """
    response = {"result": result, "result_type": kind, "call_id": call_id}
    return msgspec.json.encode({"request": None, "response": response})


def request(method: str, arguments: object, call_id: str) -> bytes:
    """Write a call."""
    call = {"method": method, "arguments": arguments, "call_id": call_id}
    return msgspec.json.encode({"request": call, "response": None})


def notification(topic: str, number: int, body: bytes) -> bytes:
    """Write the call `notify`: one text for all subscribers, since what identifies them in it serves nobody.

    `number` is the update's place in the log, 0 for what is in none.
    """
    subscription = {
        "id": f"{number:032x}",
        "subscriber_id": "cabochon",
        "topic": topic,
        "notifier_id": None,
        "number": number,
    }
    return request("notify", {"subscription": subscription, "data": Raw(body)}, f"{number:032x}")
