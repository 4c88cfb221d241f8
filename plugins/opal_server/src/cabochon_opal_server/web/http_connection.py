"""An HTTP connection within limits: uvicorn has none for heads, slow clients and clients that do not read."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cabochon_opal_server.web.crowd import Crowd
from cabochon_opal_server.web.http_limits import HttpLimits

__all__ = ["BoundedHttp"]

log = structlog.get_logger()

_TICK_S = 10.0
_AFTER_ANSWER_S = 2.0
# What asyncio reads at once: so much more of a head may have come.
_READ_AT_ONCE = 256 * 1024


class BoundedHttp(HttpToolsProtocol):
    """One connection.

    Args:
        crowd: of which it is one.
        limits: what it may cost.
    """

    def __init__(self, *args: Any, crowd: Crowd, limits: HttpLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crowd = crowd
        self._limits = limits
        self._watch: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._in_body = False
        self._head = 0
        self._body = 0
        self._has_room = False

    # ------------------------------------------------------------------------------------------- called by asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._has_room = self._crowd.come(self)
        if self._has_room:
            self._watch_for(self._limits.head_s, self._cut, "it sent no whole head in time")
        else:
            log.warning("connection.refused", why="there are too many", most=self._crowd.most)
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        self._crowd.gone(self)
        self._unwatch()
        self._unwatch_sending()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, as far as it may."""
        if not self._has_room or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if not self._in_body:
            self._head += len(data)
            if self._watch is None:
                self._watch_for(self._limits.head_s, self._cut, "it sent no whole head in time")
        try:
            cast("Any", self.parser).feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
            return
        except httptools.HttpParserError as err:
            too_large = isinstance(err.__context__, _TooLargeError)
            self._refuse(431 if too_large else 400, "its head is too large" if too_large else "it is no HTTP request")
            return
        if not self._in_body and self._head > self._limits.head_bytes and not self.transport.is_closing():
            self._refuse(431, "its head is too large")

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self._crowd.gone(self)
            self._unwatch()
            self._unwatch_sending()
            self.handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Watch whether the client reads on."""
        super().pause_writing()
        self._sending = self.loop.call_later(self._limits.send_s, self._check_sending, self._unsent())

    def resume_writing(self) -> None:
        """Go on."""
        self._unwatch_sending()
        super().resume_writing()

    # -------------------------------------------------------------------------------------- called by the parser

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._crowd.busy(self)
        self._unwatch()
        if len(self.headers) > self._limits.headers or self._head > self._limits.head_bytes + _READ_AT_ONCE:
            raise _TooLargeError
        self._in_body, self._head, self._body = True, 0, 0
        super().on_headers_complete()
        if not (cast("Any", self.parser).should_upgrade() and self._should_upgrade()):
            self._watch_for(_TICK_S, self._check_body, 0)

    def on_body(self, body: bytes) -> None:
        """Count what comes."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note of the end of a request."""
        self._in_body = False
        self._unwatch()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or a little for the rest of one that was answered before its end."""
        super().on_response_complete()
        if self._in_body:
            self._watch_for(_AFTER_ANSWER_S, self._cut, "")
        elif not self.pipeline:
            self._crowd.waits(self)

    # ----------------------------------------------------------------------------------------------------- watching

    def evict(self) -> None:
        """End it: another needs its place."""
        log.warning("connection.evicted", why="there are too many, and it waited for a request", most=self._crowd.most)
        self.transport.abort()

    def _check_body(self, before: int) -> None:
        if self._body - before < _TICK_S * self._limits.body_bytes_s and not self.flow.read_paused:
            self._cut("its body came too slowly")
        else:
            self._watch_for(_TICK_S, self._check_body, self._body)

    def _check_sending(self, before: int) -> None:
        left = self._unsent()
        if left >= before:
            self._cut("it does not read")
        else:
            self._sending = self.loop.call_later(self._limits.send_s, self._check_sending, left)

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def _watch_for(self, seconds: float, check: Any, given: object) -> None:  # noqa: ANN401 - takes what is given
        self._unwatch()
        self._watch = self.loop.call_later(seconds, check, given)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _unwatch_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _cut(self, why: str) -> None:
        if why:
            log.warning("connection.cut", why=why)
        self.transport.abort()

    def _refuse(self, status: int, why: str) -> None:
        log.warning("connection.refused", why=why)
        reason = {431: "Request Header Fields Too Large"}.get(status, "Bad Request")
        head = f"HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()


class _TooLargeError(Exception):
    """A head has too many headers, or is too long."""
