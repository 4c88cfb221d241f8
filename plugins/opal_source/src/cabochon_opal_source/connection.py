"""One connection to an OPAL server, from dialing to its loss: read, answer, hand on."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
from anyio.abc import ByteStream
from websockets.uri import WebSocketURI

from cabochon.json_values import LARGE_BYTES, JsonError, off_loop
from cabochon.network_failures import network_failure
from cabochon_opal_source import rpc
from cabochon_opal_source.dialing import dialed
from cabochon_opal_source.event_buffer import EventBuffer
from cabochon_opal_source.keep_alive import KeepAlive
from cabochon_opal_source.session import Session
from cabochon_opal_source.websocket import ConnectionLostError, WebSocket

__all__ = ["Connection", "Server"]

_CHUNK_BYTES = 262_144
_DIAL_S = 10.0
_SUBSCRIBE_S = 10.0
_SEND_S = 20.0
_CLOSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the server is and how to talk to it; times in seconds, 0 for `call_every_s` means never."""

    uri: WebSocketURI
    headers: Mapping[str, str]
    context: ssl.SSLContext
    max_message_bytes: int
    silence_s: float
    call_every_s: float


class Connection:
    """Follows a server until the connection is lost."""

    def __init__(self, server: Server, session: Session, buffer: EventBuffer) -> None:
        self._server = server
        self._session = session
        self._buffer = buffer
        self._socket = WebSocket(server.uri, server.headers, max_bytes=server.max_message_bytes)

    async def run(self) -> None:
        """Connect, subscribe, and put what happens into the buffer.

        Raises:
            ConnectionLostError: always, at the end: it says why it ended.
        """
        try:
            with anyio.fail_after(_DIAL_S) as dialing:
                async with dialed(self._server.uri, self._server.context) as stream:
                    try:
                        await self._upgrade(stream)
                        dialing.deadline = math.inf
                        await self._follow(stream)
                    finally:
                        await self._leave(stream)
        except TimeoutError:
            raise ConnectionLostError(f"no answer within {_DIAL_S:g} s") from None
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as err:
            raise ConnectionLostError(network_failure(err)) from err

    async def _upgrade(self, stream: ByteStream) -> None:
        await stream.send(self._socket.outgoing())
        while not self._socket.is_open:
            # Nothing but the answer to the upgrade can come before we have called.
            self._socket.receive(await _received(stream) or b"")
            self._socket.check()

    async def _follow(self, stream: ByteStream) -> None:
        """Take what comes; the server has `_SUBSCRIBE_S` seconds until it has taken the subscription."""
        silence_s, call_every_s = self._server.silence_s, self._server.call_every_s
        keep_alive = KeepAlive(anyio.current_time(), silence_s=silence_s, call_every_s=call_every_s)
        with anyio.move_on_after(_SUBSCRIBE_S) as subscribing:
            while True:
                await self._send(stream)
                self._socket.check()
                if self._session.subscribed:
                    subscribing.deadline = math.inf
                if self._buffer.is_full:
                    await self._buffer.room()
                    keep_alive.paused(anyio.current_time())
                chunk = await _received(stream, until=keep_alive.next_at)
                if chunk is None:
                    self._stay_alive(keep_alive)
                    continue
                await self._take(chunk)
                keep_alive.heard(anyio.current_time(), answered=self._session.pinged == 0)
        raise ConnectionLostError(f"the server did not take the subscription within {_SUBSCRIBE_S:g} s")

    async def _take(self, chunk: bytes) -> None:
        session, put = self._session, self._buffer.put
        for raw in self._socket.receive(chunk):
            try:
                message = rpc.parse(raw) if len(raw) < LARGE_BYTES else await off_loop(rpc.parse, raw)
            except JsonError as err:
                session.malformed_message(err)
                continue
            event = session.receive(message)
            if event is not None:
                put(event, len(raw))

    def _stay_alive(self, keep_alive: KeepAlive) -> None:
        now = anyio.current_time()
        if keep_alive.is_gone(now):
            raise ConnectionLostError("the server does not answer pings")
        if keep_alive.must_ping(now):
            self._socket.ping()
        if keep_alive.must_call(now):
            self._session.ping()

    async def _send(self, stream: ByteStream) -> None:
        """Write all that has piled up, in one piece."""
        self._socket.send(self._session.outbox)
        self._session.outbox.clear()
        outgoing = self._socket.outgoing()
        if outgoing:
            with anyio.move_on_after(_SEND_S) as sending:
                await stream.send(outgoing)
            if sending.cancelled_caught:
                raise ConnectionLostError(f"the server did not read for {_SEND_S:g} s")

    async def _leave(self, stream: ByteStream) -> None:
        """Say good-bye as far as the server listens; the answer to that is not waited for."""
        self._socket.close()
        with anyio.move_on_after(_CLOSE_S, shield=True):
            try:
                await stream.send(self._socket.outgoing())
            except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def _received(stream: ByteStream, *, until: float = math.inf) -> bytes | None:
    """Receive what is there, `b""` at the end; None if nothing came until then."""
    with anyio.CancelScope(deadline=until):
        try:
            return await stream.receive(_CHUNK_BYTES)
        except anyio.EndOfStream:
            return b""
    return None
