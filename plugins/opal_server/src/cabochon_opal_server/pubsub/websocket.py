"""A WebSocket connection, as an asyncio protocol on top of `websockets`' implementation without I/O.

Behind ASGI each message to each subscriber would be encoded, framed and awaited on its own. Here a message is framed
once for all subscribers, and all that waits for one of them is written together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from cabochon_opal_server.pubsub.subscriber import Subscriber

__all__ = ["Handler", "WebSocketConnection", "text_frame"]

_WRITTEN_AT_ONCE = 256 * 1024


def text_frame(text: bytes) -> bytes:
    """Frame a message; a server's frames are not masked, so it is the same for everyone."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


class Handler(Protocol):
    """What makes use of connections: all of it is called on the event loop and must not block."""

    def upgrade(self, connection: WebSocketConnection, request: Request) -> tuple[int, str] | dict[str, str]:
        """Take a connection, returning headers of the answer, or refuse it with a status and a reason."""
        ...

    def message(self, connection: WebSocketConnection, text: bytes) -> None:
        """Take a message."""
        ...

    def ended(self, connection: WebSocketConnection, why: str) -> None:
        """Take note of the end of a connection that was taken; it is the last call for it."""
        ...


class _Patience:
    """How long a client may not read, and how long it may say nothing; then it is given up.

    Args:
        send_s, silence_s: see `WebSocketConnection`.
        ping: asks the client whether it is there; tells whether to ask again.
        give_up: cuts it off, and is told why.
    """

    def __init__(
        self, *, send_s: float, silence_s: float, ping: Callable[[], bool], give_up: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._send_s = send_s
        self._silence_s = silence_s
        self._ping = ping
        self._give_up = give_up
        self._slow: asyncio.TimerHandle | None = None
        self._silent: asyncio.TimerHandle | None = None
        self.heard = False

    def begin(self) -> None:
        """Begin to listen."""
        self._silent = self._loop.call_later(self._silence_s, self._check_silence)

    def does_not_read(self) -> None:
        """Take note that what was written is not taken."""
        why = f"it did not read for {self._send_s:g} s"
        self._slow = self._loop.call_later(self._send_s, self._give_up, why)

    def reads(self) -> None:
        """Take note that what was written is taken again."""
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def end(self) -> None:
        """Wait for nothing more."""
        for timer in (self._slow, self._silent):
            if timer is not None:
                timer.cancel()

    def _check_silence(self) -> None:
        """Ping who was silent; who is silent after that as well is gone."""
        if not self.heard:
            self._give_up("it does not answer pings")
            return
        self.heard = False
        if self._ping():
            self._silent = self._loop.call_later(self._silence_s, self._check_silence)


class WebSocketConnection(asyncio.Protocol):
    """One connection; uvicorn makes it when an HTTP request asks to be upgraded.

    Args:
        handler: what is done with it.
        subscriber: what waits to be sent.
        max_message_bytes: longer messages end the connection.
        send_s: seconds in which the client must take what was written.
        silence_s: seconds of silence after which a client is asked whether it is there, and again until it is given up.
        server_state: uvicorn's list of connections, to be told of its shutdown.

    Attributes:
        state: whatever the handler wants to keep here.
        address: the client's host and port.
    """

    def __init__(
        self,
        handler: Handler,
        subscriber: Subscriber,
        *,
        max_message_bytes: int,
        send_s: float,
        silence_s: float,
        server_state: Any,  # noqa: ANN401 - uvicorn's
    ) -> None:
        self.state: Any = None
        self.subscriber = subscriber
        self.address: tuple[str, int] | None = None
        self._handler = handler
        self._protocol = ServerProtocol(max_size=max_message_bytes, logger=_silent())
        self._connections: set[object] = server_state.connections
        self._loop = asyncio.get_running_loop()
        self._patience = _Patience(send_s=send_s, silence_s=silence_s, ping=self._ping, give_up=self.drop)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._taken = False
        self._paused = False
        self._scheduled = False
        self._unread: set[str] = set()
        self._pieces = bytearray()
        self._why = "it has gone"

    # ------------------------------------------------------------------------------------------- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = None if not peer else (str(peer[0]), int(peer[1]))
        self._connections.add(self)
        self._patience.begin()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._patience.heard = True
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                self._upgrade(event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._write_protocol()

    def eof_received(self) -> None:
        """Take note that nothing more comes."""
        self._protocol.receive_eof()
        self._write_protocol()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        del exc
        self._connections.discard(self)
        self._patience.end()
        self.subscriber.close()
        if self._taken:
            self._taken = False
            self._handler.ended(self, self._why)

    def pause_writing(self) -> None:
        """Wait: the client does not read."""
        self._paused = True
        # Its pings would be answered into a buffer that nobody empties.
        self.pause_reading("it does not read")
        self._patience.does_not_read()

    def resume_writing(self) -> None:
        """Go on: it reads again."""
        self._paused = False
        self.resume_reading("it does not read")
        self._patience.reads()
        self._flush()

    # --------------------------------------------------------------------------------------------- called by others

    def shutdown(self) -> None:
        """Say good-bye: the server stops. Uvicorn calls it."""
        self._why = "the server stops"
        self.close(CloseCode.GOING_AWAY)

    def close(self, code: int) -> None:
        """End the connection as the protocol wants it; who does not answer is cut off."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._write_protocol()
        if not self._transport.is_closing():
            self._loop.call_later(1.0, self._transport.abort)

    def drop(self, why: str) -> None:
        """Cut the connection off: its client does not read, so it can't be told."""
        self._why = why
        self.subscriber.close()
        self._transport.abort()

    def refuse(self, why: str, code: int) -> None:
        """End the connection with a code, because of what its client does."""
        self._why = why
        self.close(code)

    def pause_reading(self, why: str) -> None:
        """Take nothing more as long as there is this reason, or another."""
        self._unread.add(why)
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self, why: str) -> None:
        """Take more again, unless there is another reason not to."""
        self._unread.discard(why)
        if not (self._unread or self._transport.is_closing()):
            self._transport.resume_reading()

    # ----------------------------------------------------------------------------------------------------- reading

    def _upgrade(self, request: Request) -> None:
        protocol = self._protocol
        response = protocol.accept(request)
        if protocol.handshake_exc is None:
            answer = self._handler.upgrade(self, request)
            if isinstance(answer, tuple):
                response = protocol.reject(*answer)
            else:
                for name, value in answer.items():
                    response.headers[name] = value
                self._taken = True
                self.subscriber.wake = self._schedule
                self.subscriber.drop = self.drop
        protocol.send_response(response)

    def _frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._handler.message(self, bytes(frame.data))
            else:
                self._pieces = bytearray(frame.data)
        elif opcode is Opcode.CONT:
            self._pieces += frame.data
            if frame.fin:
                whole, self._pieces = bytes(self._pieces), bytearray()
                self._handler.message(self, whole)

    def _ping(self) -> bool:
        if self._protocol.state is State.OPEN:
            try:
                self._protocol.send_ping(b"")
            except InvalidState:
                return False
            self._write_protocol()
        return True

    # ----------------------------------------------------------------------------------------------------- writing

    def _schedule(self) -> None:
        # Not at once: more may be put in this turn of the event loop.
        if not self._scheduled and not self._paused:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while not self._paused and self.subscriber.waiting and self._protocol.state is State.OPEN:
            self._transport.write(self.subscriber.take(_WRITTEN_AT_ONCE))

    def _write_protocol(self) -> None:
        """Write what the protocol wants to say: the answer to the upgrade, pongs, the end."""
        for piece in self._protocol.data_to_send():
            if piece:
                self._transport.write(piece)
            else:
                self._transport.close()
        if self._protocol.close_expected() and self._protocol.state is State.CLOSED:
            self._transport.close()


def _silent() -> logging.Logger:
    """The library's debug lines show headers and messages: they go nowhere, whatever the program has configured."""
    logger = logging.Logger("cabochon_opal_server.websocket", level=logging.CRITICAL + 1)  # noqa: LOG001 # not in the tree
    logger.addHandler(logging.NullHandler())
    return logger
