"""One connection to an OPAL server, from dialing to its loss: read, answer, hand on."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
from anyio.abc import ByteStream
from websockets.uri import WebSocketURI

from cabochon.documents.json_values import JsonError
from cabochon.documents.off_loop import LARGE_BYTES, off_loop
from cabochon.kit.http.failures import network_failure
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
_BETWEEN_REPORTS_S = 0.2


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
        self._receiving = anyio.CancelScope()
        self._reported_at = -math.inf

    async def run(self) -> None:
        """Connect, subscribe, and put what happens into the buffer.

        Raises:
            ConnectionLostError: always, at the end: it says why it ended.
        """
        try:
            with anyio.fail_after(_DIAL_S) as dialing:
                async with dialed(self._server.uri, self._server.context) as stream:
                    try:
                        already = await self._upgrade(stream)
                        dialing.deadline = math.inf
                        await self._follow(stream, already)
                    finally:
                        await self._leave(stream)
        except TimeoutError:
            raise ConnectionLostError(f"no answer within {_DIAL_S:g} s") from None
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as err:
            raise ConnectionLostError(network_failure(err)) from err

    async def _upgrade(self, stream: ByteStream) -> list[bytes]:
        """Turn the connection into a WebSocket; the messages that came in one piece with the answer."""
        await stream.send(self._socket.outgoing())
        already: list[bytes] = []
        while not self._socket.is_open:
            already = self._socket.receive(await self._received(stream) or b"")
            self._socket.check()
        self._session.extended = self._socket.extended
        return already

    async def _follow(self, stream: ByteStream, already: list[bytes]) -> None:
        """Take what comes; the server has `_SUBSCRIBE_S` seconds until it has taken the subscription."""
        silence_s, call_every_s = self._server.silence_s, self._server.call_every_s
        keep_alive = KeepAlive(anyio.current_time(), silence_s=silence_s, call_every_s=call_every_s)
        self._session.progress.on_news = self._hurry
        with anyio.move_on_after(_SUBSCRIBE_S) as subscribing:
            await self._take(already)
            while True:
                self._report()
                await self._send(stream)
                self._socket.check()
                if self._session.subscribed:
                    subscribing.deadline = math.inf
                if self._buffer.is_full:
                    await self._buffer.room()
                    keep_alive.paused(anyio.current_time())
                chunk = await self._received(stream, until=min(keep_alive.next_at, self._report_at))
                if chunk is None:
                    self._stay_alive(keep_alive)
                    continue
                await self._take(self._socket.receive(chunk))
                keep_alive.heard(anyio.current_time(), answered=self._session.pinged == 0)
        raise ConnectionLostError(f"the server did not take the subscription within {_SUBSCRIBE_S:g} s")

    async def _take(self, messages: list[bytes]) -> None:
        session, put = self._session, self._buffer.put
        for raw in messages:
            try:
                message = rpc.parse(raw) if len(raw) < LARGE_BYTES else await off_loop(rpc.parse, raw)
            except JsonError as err:
                session.malformed_message(err)
                continue
            for event in session.receive(message):
                put(event, len(raw))

    def _stay_alive(self, keep_alive: KeepAlive) -> None:
        now = anyio.current_time()
        if keep_alive.is_gone(now):
            raise ConnectionLostError("the server does not answer pings")
        if keep_alive.must_ping(now):
            self._socket.ping()
        if keep_alive.must_call(now):
            self._session.ping()

    # -------------------------------------------------------------------------------------------------- progress

    @property
    def _report_at(self) -> float:
        """When to tell the server how far we are: soon if there is news, else now and then."""
        if not self._session.may_report:
            return math.inf
        return self._reported_at + (_BETWEEN_REPORTS_S if self._session.progress.has_news else self._server.silence_s)

    def _report(self) -> None:
        now = anyio.current_time()
        if now >= self._report_at:
            self._reported_at = now
            self._session.report()

    def _hurry(self) -> None:
        self._receiving.deadline = min(self._receiving.deadline, self._report_at)

    # ----------------------------------------------------------------------------------------------------- bytes

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

    async def _received(self, stream: ByteStream, *, until: float = math.inf) -> bytes | None:
        """Receive what is there, `b""` at the end; None if nothing came until then, or there is news to tell."""
        with anyio.CancelScope(deadline=until) as self._receiving:
            try:
                return await stream.receive(_CHUNK_BYTES)
            except anyio.EndOfStream:
                return b""
        return None
