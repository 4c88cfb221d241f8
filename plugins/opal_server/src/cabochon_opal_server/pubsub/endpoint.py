"""The WebSocket endpoint: a client and a session for each connection."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import anyio.abc
import structlog
from starlette.exceptions import HTTPException
from websockets.datastructures import Headers
from websockets.http11 import Request

from cabochon import BackboneError
from cabochon.documents.json_values import JsonError
from cabochon_opal_server.pubsub.clients import Client, Clients
from cabochon_opal_server.pubsub.hub import Hub
from cabochon_opal_server.pubsub.messages import RpcCall, read
from cabochon_opal_server.pubsub.session import Permissions, Session, SessionParts
from cabochon_opal_server.pubsub.subscriber import Subscriber
from cabochon_opal_server.pubsub.websocket import Handler, WebSocketConnection
from cabochon_opal_server.web.crowd import Crowd

__all__ = ["AGENT_HEADER", "LOG_HEADER", "ROUTE", "VERSION_HEADER", "Endpoint", "Limits"]

log = structlog.get_logger()

AGENT_HEADER = "X-Cabochon-Agent"
VERSION_HEADER = "X-Cabochon-Version"
LOG_HEADER = "X-Cabochon-Log"

ROUTE = "/ws"
_TRY_AGAIN = 1013
_REFUSED = 4003
_EXPIRED = 1008
_CLOCK_HOLDS_S = 60.0
_UNAUTHORIZED = 401
_CALLS_WAITING = 100
_BYTES_WAITING = 1024 * 1024
_NONSENSE_AT_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may cost.

    Attributes:
        waiting_messages: messages that may wait for it.
        waiting_bytes: and how much of them.
        message_bytes: the longest message that it may send.
        send_s: seconds in which it must take what was written.
        silence_s: seconds of silence after which it is pinged, and again until it is given up.
    """

    waiting_messages: int
    waiting_bytes: int
    message_bytes: int
    send_s: float
    silence_s: float = 20.0


class Endpoint(Handler):
    """Takes connections.

    Args:
        hub: who tells them.
        clients: lists them.
        parts: what their sessions share.
        limits: what each may cost.
        permissions: says what the headers of a request allow, or raises HTTPException 401 or 403.
        crowd: says whether there is room for one more.
    """

    def __init__(
        self,
        hub: Hub,
        clients: Clients,
        parts: SessionParts,
        limits: Limits,
        permissions: Callable[[Headers], Permissions],
        crowd: Crowd,
    ) -> None:
        self._hub = hub
        self._clients = clients
        self._parts = parts
        self._limits = limits
        self._permissions = permissions
        self._crowd = crowd
        # Protocols run outside of any task, where none can be started: they leave word here.
        self._waiting: deque[_Conversation] = deque()
        self._news = asyncio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Carry out what clients call, until cancelled."""
        async with anyio.create_task_group() as tasks:
            task_status.started()
            while True:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    tasks.start_soon(self._waiting.popleft().answer_all)

    def connection(self, *, server_state: Any, **_uvicorns: Any) -> WebSocketConnection:  # noqa: ANN401 - uvicorn's
        """Make the protocol of a connection: what uvicorn asks for when a request wants to be upgraded."""
        limits = self._limits
        return WebSocketConnection(
            self,
            Subscriber(max_messages=limits.waiting_messages, max_bytes=limits.waiting_bytes),
            max_message_bytes=limits.message_bytes,
            send_s=limits.send_s,
            silence_s=limits.silence_s,
            server_state=server_state,
        )

    def _begin(self, conversation: _Conversation) -> None:
        self._waiting.append(conversation)
        self._news.set()

    # ------------------------------------------------------------------------------------------------- the handler

    def upgrade(self, connection: WebSocketConnection, request: Request) -> tuple[int, str] | dict[str, str]:
        """Let a client in, if its token is good."""
        url = urlsplit(request.path)
        if url.path != ROUTE:
            return 404, "Not Found\n"
        try:
            permissions = self._permissions(request.headers)
        except HTTPException as err:
            log.warning("client.refused", address=_shown(connection.address), error=str(err.detail))
            return 403, "a valid token is needed\n" if err.status_code == _UNAUTHORIZED else f"{err.detail}\n"
        if not self._crowd.socket_came():
            log.warning("client.refused", address=_shown(connection.address), error="there are too many")
            return 503, "there are too many connections\n"
        connection.subscriber.sees = permissions.sees
        client = Client(
            connection.subscriber,
            address=connection.address,
            query=dict(parse_qsl(url.query)),
            agent=request.headers.get(AGENT_HEADER, "")[:200],
            agent_version=request.headers.get(VERSION_HEADER, "")[:50],
            holder=permissions.holder,
        )
        session = Session(client, permissions, self._parts)
        conversation = _Conversation(connection, client, session, self._begin, self._leave)
        conversation.end_at(permissions.expires_at)
        connection.state = conversation
        self._clients.add(client)
        log.info("client.connected", client_id=client.client_id, agent=client.agent or None)
        return {LOG_HEADER: self._hub.log_id}

    def message(self, connection: WebSocketConnection, text: bytes) -> None:
        """Take a message; most are answers to notifications, and nothing is to be done."""
        conversation: _Conversation = connection.state
        try:
            call = read(text)
        except JsonError as err:
            conversation.nonsense(err)
            return
        if call is not None:
            conversation.take(call)

    def ended(self, connection: WebSocketConnection, why: str) -> None:
        """Forget a client."""
        conversation: _Conversation = connection.state
        client = conversation.client
        conversation.end()
        self._crowd.socket_gone()
        self._leave(client)
        self._clients.remove(client)
        log.info("client.disconnected", client_id=client.client_id, agent=client.agent or None, why=why)

    def _leave(self, client: Client) -> None:
        self._hub.leave(client.subscriber)
        self._parts.watcher.left(client)


class _Conversation:
    """One client's calls, carried out one after the other in a task that lasts as long as there are any."""

    def __init__(
        self,
        connection: WebSocketConnection,
        client: Client,
        session: Session,
        begin: Callable[[_Conversation], None],
        leave: Callable[[Client], None],
    ) -> None:
        self.client = client
        self.over = False
        self._leave = leave
        self._connection = connection
        self._session = session
        self._begin = begin
        self._calls: deque[RpcCall] = deque()
        self._bytes = 0
        self._busy = False
        self._nonsense = 0
        self._expiry: asyncio.TimerHandle | None = None

    def end_at(self, expires_at: float) -> None:
        """End the connection when its token does, by the clock that tokens are made by."""
        left_s = expires_at - time.time()
        if left_s <= 0:
            self._connection.refuse("its token has expired", _EXPIRED)
        elif left_s < math.inf:
            # No longer at once than until clocks may have been set.
            self._expiry = asyncio.get_running_loop().call_later(min(left_s, _CLOCK_HOLDS_S), self.end_at, expires_at)

    def end(self) -> None:
        """Take note that it is over."""
        self.over = True
        if self._expiry is not None:
            self._expiry.cancel()

    def nonsense(self, error: JsonError) -> None:
        self._nonsense += 1
        log.warning("message.malformed", client_id=self.client.client_id, error=str(error))
        if self._nonsense > _NONSENSE_AT_MOST:
            self._connection.refuse("it speaks another protocol", _REFUSED)

    def take(self, call: RpcCall) -> None:
        self._calls.append(call)
        self._bytes += len(call.arguments)
        if self._is_full:
            self._connection.pause_reading("calls wait")
        if not self._busy:
            self._busy = True
            self._begin(self)

    @property
    def _is_full(self) -> bool:
        return len(self._calls) >= _CALLS_WAITING or self._bytes >= _BYTES_WAITING

    async def answer_all(self) -> None:
        try:
            while self._calls and not self.over:
                call = self._calls.popleft()
                self._bytes -= len(call.arguments)
                if not self._is_full:
                    self._connection.resume_reading("calls wait")
                await self._session.receive(call)
        except BackboneError as err:
            self._connection.refuse(f"the update log is away: {err}", _TRY_AGAIN)
        except Exception as err:  # noqa: BLE001 - a guarded edge: one client's trouble must not cost the others theirs
            log.error("client.failed", client_id=self.client.client_id, error=f"{type(err).__name__}: {err}")  # noqa: TRY400
            self._connection.refuse("a failure of the server", 1011)
        finally:
            self._busy = False
        if self.over:
            # It may have ended while it was being subscribed.
            self._leave(self.client)


def _shown(address: tuple[str, int] | None) -> str | None:
    return None if address is None else f"{address[0]}:{address[1]}"
