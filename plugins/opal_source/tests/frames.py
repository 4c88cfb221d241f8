"""Bytes as a server's side of a WebSocket writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from cabochon import SourceEvent
from cabochon_opal_source import rpc
from cabochon_opal_source.session import Session
from cabochon_opal_source.topics import Subscription
from cabochon_opal_source.websocket import WebSocket

URI = parse_uri("ws://server.example/ws")
SUBSCRIPTION = Subscription(data=("policy_data",), policy=("policy:app",), directories=("app",))


def text(*payloads: str | bytes) -> bytes:
    """Write messages, a frame each."""
    raws = [payload.encode() if isinstance(payload, str) else payload for payload in payloads]
    return b"".join(Frame(Opcode.TEXT, raw).serialize(mask=False) for raw in raws)


def fragments(*pieces: bytes) -> bytes:
    """Write one message in pieces."""
    last = len(pieces) - 1
    return b"".join(
        Frame(Opcode.CONT if number else Opcode.TEXT, piece, fin=number == last).serialize(mask=False)
        for number, piece in enumerate(pieces)
    )


def notify(data: object, topic: str = "policy_data", call_id: object = "1") -> str:
    arguments = {"subscription": {"id": "s", "subscriber_id": "c", "topic": topic, "notifier_id": None}, "data": data}
    return json.dumps({"request": {"method": "notify", "arguments": arguments, "call_id": call_id}, "response": None})


def call_of(method: str, call_id: str) -> str:
    return json.dumps({"request": {"method": method, "arguments": {}, "call_id": call_id}, "response": None})


def answer_to(call_id: str, result: object) -> str:
    response = {"result": result, "result_type": type(result).__name__, "call_id": call_id}
    return json.dumps({"request": None, "response": response})


def update(name: str, data: object = 1) -> dict[str, object]:
    return {"id": name, "entries": [{"url": "", "dst_path": "/a", "data": data}]}


def upgraded(*, max_bytes: int = 1 << 20) -> WebSocket:
    """A WebSocket whose upgrade is done."""
    websocket = WebSocket(URI, {"Authorization": "Bearer token"}, max_bytes=max_bytes)
    server = ServerProtocol()
    server.receive_data(websocket.outgoing())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    websocket.receive(b"".join(server.data_to_send()))
    websocket.check()
    return websocket


def sent(websocket: WebSocket) -> list[dict[str, object]]:
    """What a server reads of what has been queued."""
    server = ServerProtocol(max_size=None)
    server.receive_data(WebSocket(URI, {}, max_bytes=1).outgoing())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    server.receive_data(websocket.outgoing())
    frames = [event for event in server.events_received() if isinstance(event, Frame)]
    return [json.loads(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.TEXT]


def taken(session: Session, messages: Sequence[bytes | str]) -> list[SourceEvent]:
    """What a session makes of messages."""
    raws = [message.encode() if isinstance(message, str) else message for message in messages]
    events = [session.receive(rpc.parse(raw)) for raw in raws]
    return [event for some in events for event in some]
