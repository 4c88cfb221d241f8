"""The client's side of one WebSocket (RFC 6455) without any I/O: bytes in, messages and bytes out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

__all__ = ["ConnectionLostError", "TokenRefusedError", "WebSocket"]

_LOG_HEADER = "X-Cabochon-Log"
_REFUSED = frozenset({401, 403})


class ConnectionLostError(Exception):
    """There is no connection, or no longer; the message says why."""


class TokenRefusedError(ConnectionLostError):
    """The server does not let us in with this token."""


class WebSocket:
    """One connection, from the upgrade to the end.

    `receive` and `send` leave in `outgoing` what has to be written then.

    Attributes:
        extended: whether the server's answer to the upgrade says that it speaks our extension of the protocol.
    """

    def __init__(self, uri: WebSocketURI, headers: Mapping[str, str], *, max_bytes: int) -> None:
        # No extension is offered: compressing costs more than the frames of a server nearby are worth.
        self._protocol = ClientProtocol(uri, max_size=max_bytes, logger=_silent())
        self._max_bytes = max_bytes
        self._pieces: list[bytes | bytearray | memoryview] = []
        self.extended = False
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)

    @property
    def is_open(self) -> bool:
        """Whether the upgrade is done and neither side has closed."""
        return self._protocol.state is State.OPEN

    def receive(self, chunk: bytes) -> list[bytes]:
        """Take what came, `b""` at the end of the stream, and return the messages that are complete with it."""
        protocol = self._protocol
        if chunk:
            protocol.receive_data(chunk)
        else:
            protocol.receive_eof()
        messages: list[bytes] = []
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._take(event, messages)
            elif isinstance(event, Response):
                self.extended = _LOG_HEADER in event.headers
        return messages

    def _take(self, frame: Frame, messages: list[bytes]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                messages.append(bytes(frame.data))
            else:
                self._pieces = [frame.data]
        elif opcode is Opcode.CONT:
            self._pieces.append(frame.data)
            if frame.fin:
                messages.append(b"".join(self._pieces))
                self._pieces = []

    def send(self, messages: Sequence[bytes]) -> None:
        """Queue messages, unless the connection is no longer open."""
        if self.is_open:
            for message in messages:
                self._protocol.send_text(message)

    def ping(self) -> None:
        """Queue a ping."""
        if self.is_open:
            self._protocol.send_ping(b"")

    def close(self) -> None:
        """Queue the end, if the connection is open."""
        if self.is_open:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)

    def outgoing(self) -> bytes:
        """Return all that is to be written by now."""
        return b"".join(self._protocol.data_to_send())

    def check(self) -> None:
        """Make sure that messages may still come.

        Raises:
            TokenRefusedError: the server answered the upgrade with 401 or 403.
            ConnectionLostError: the connection is closed, or will be.
        """
        protocol = self._protocol
        if protocol.handshake_exc is not None:
            raise _refusal(protocol.handshake_exc)
        if protocol.state in {State.CLOSING, State.CLOSED}:
            raise ConnectionLostError(self._why_closed())

    def _why_closed(self) -> str:
        protocol = self._protocol
        if isinstance(protocol.parser_exc, PayloadTooBig):
            return f"a message is larger than {self._max_bytes} bytes (OPAL_SOURCE_MAX_MESSAGE_BYTES)"
        if protocol.close_rcvd is not None:
            return f"the server closed the connection with code {protocol.close_rcvd.code}"
        if isinstance(protocol.parser_exc, EOFError) or protocol.parser_exc is None:
            return "the connection broke"
        return f"the server does not speak WebSocket ({type(protocol.parser_exc).__name__})"


def _refusal(error: Exception) -> ConnectionLostError:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in _REFUSED:
            return TokenRefusedError(f"the server refuses OPAL_CLIENT_TOKEN ({status})")
        return ConnectionLostError(f"the server answered the upgrade to WebSocket with {status}")
    return ConnectionLostError(f"the server does not speak WebSocket ({type(error).__name__})")


def _silent() -> logging.Logger:
    """The library's debug lines show headers and messages: they go nowhere, whatever the program has configured."""
    logger = logging.Logger("cabochon_opal_source.websocket", level=logging.CRITICAL + 1)  # noqa: LOG001 # not in the tree
    logger.addHandler(logging.NullHandler())
    return logger
