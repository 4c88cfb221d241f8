"""One WebSocket of the scripted server, byte by byte, so that it can be broken anywhere."""

from __future__ import annotations

import json
import socket
import struct
import uuid
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from .faults import Ending

__all__ = ["ConnectionEndedError", "Session", "reset"]

_RESET = struct.pack("ii", 1, 0)
_CLOSE_S = 1.0
_SILENCE_S = 6.0
_GOING_AWAY = 1001


class ConnectionEndedError(Exception):
    """The WebSocket was closed, by either side."""


async def reset(stream: ByteStream) -> None:
    """End a TCP connection as a crash does: without a FIN."""
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    await anyio.aclose_forcefully(stream)


class Session:
    """Speaks OPAL's RPC with an agent.

    Attributes:
        topics: what the agent has subscribed to; empty before.
    """

    def __init__(self, stream: ByteStream, *, mute: bool = False) -> None:
        self._stream = stream
        self._mute = mute
        self._protocol = ServerProtocol(max_size=None)
        self._writing = anyio.Lock()
        self.topics: frozenset[str] = frozenset()

    async def run(self, head: bytes) -> None:
        """Accept the upgrade that `head` asks for, and answer calls.

        Raises:
            ConnectionEndedError: the agent closed it.
        """
        data = head
        while True:
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self._protocol.send_response(self._protocol.accept(event))
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    self._take(json.loads(bytes(event.data)))
            async with self._writing:
                await self._flush()
            data = await self._stream.receive()

    def _take(self, message: dict[str, Any]) -> None:
        call = message.get("request")
        if call is None or self._mute:
            return
        if call["method"] == "subscribe":
            self.topics = frozenset(call["arguments"]["topics"])
        result = "pong" if call["method"] == "_ping_" else True
        response = {"result": result, "result_type": type(result).__name__, "call_id": call["call_id"]}
        self._protocol.send_text(json.dumps({"request": None, "response": response}).encode())

    async def notify(self, topic: str, data: object) -> None:
        """Publish, in the order of the calls."""
        async with self._writing:
            self._check_open()
            self._protocol.send_text(_notification(topic, data))
            await self._flush()

    async def end(self, ending: Ending) -> None:
        """End the session, well or badly."""
        if ending is Ending.SILENCE:
            await anyio.sleep(_SILENCE_S)
        # What is being published goes out first: only one can write.
        async with self._writing:
            await self._end(ending)
        await anyio.aclose_forcefully(self._stream)

    async def _end(self, ending: Ending) -> None:
        if ending is Ending.CLOSE:
            self._check_open()
            self._protocol.send_close(_GOING_AWAY)
            await self._flush()
            with anyio.move_on_after(_CLOSE_S):
                while not self._protocol.close_expected():
                    self._protocol.receive_data(await self._stream.receive())
        elif ending in {Ending.HALF_FRAME, Ending.HALF_FRAME_RESET}:
            frame = Frame(Opcode.TEXT, _notification("policy_data", {"id": "lost"})).serialize(mask=False)
            await self._stream.send(frame[: len(frame) // 2])
        elif ending is Ending.GARBAGE:
            await self._stream.send(b"\xff\xff\xff\xff")
        if ending in {Ending.RESET, Ending.HALF_FRAME_RESET}:
            await reset(self._stream)

    def _check_open(self) -> None:
        # The agent's close may have been read, and `run` cut off before it could say so.
        if self._protocol.state is not State.OPEN:
            raise ConnectionEndedError

    async def _flush(self) -> None:
        for piece in self._protocol.data_to_send():
            if not piece:
                raise ConnectionEndedError
            await self._stream.send(piece)


def _notification(topic: str, data: object) -> bytes:
    about = {"id": uuid.uuid4().hex, "subscriber_id": uuid.uuid4().hex, "topic": topic, "notifier_id": None}
    call = {"method": "notify", "arguments": {"subscription": about, "data": data}, "call_id": uuid.uuid4().hex}
    return json.dumps({"request": call, "response": None}).encode()
