"""The WebSocket endpoint `/ws`: a session for each connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import structlog
from anyio.abc import TaskGroup
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket, WebSocketDisconnect

from cabochon.backbone import BackboneError
from cabochon.json_values import JsonError
from cabochon_opal_server.pubsub.clients import Client, Clients
from cabochon_opal_server.pubsub.hub import Hub
from cabochon_opal_server.pubsub.messages import read
from cabochon_opal_server.pubsub.session import Permissions, Session, SessionParts
from cabochon_opal_server.pubsub.subscriber import Subscriber

__all__ = ["AGENT_HEADER", "LOG_HEADER", "VERSION_HEADER", "Endpoint", "Limits"]

log = structlog.get_logger()

AGENT_HEADER = "x-cabochon-agent"
VERSION_HEADER = "x-cabochon-version"
LOG_HEADER = "x-cabochon-log"

_TRY_AGAIN = 1013
_REFUSED = 4003
_NONSENSE_AT_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may cost: waiting messages and characters, and seconds in which it must read one."""

    waiting_messages: int
    waiting_chars: int
    send_s: float


class Endpoint:
    """Takes connections; `permissions` says what an Authorization header allows, or raises HTTPException."""

    def __init__(
        self,
        hub: Hub,
        clients: Clients,
        parts: SessionParts,
        limits: Limits,
        permissions: Callable[[str | None], Permissions],
    ) -> None:
        self._hub = hub
        self._clients = clients
        self._parts = parts
        self._limits = limits
        self._permissions = permissions

    async def __call__(self, socket: WebSocket) -> None:
        """Serve one connection until it ends."""
        try:
            permissions = self._permissions(socket.headers.get("authorization"))
        except HTTPException as err:
            log.warning("client.refused", address=_address(socket), error=str(err.detail))
            # Before it is accepted, this is a 403 on the upgrade.
            await socket.close(_REFUSED)
            return
        client = self._client(socket, socket.headers)
        await socket.accept(headers=[(LOG_HEADER.encode(), self._hub.log_id.encode())])
        with self._clients.connected(client):
            log.info("client.connected", client_id=client.client_id, agent=client.agent or None)
            try:
                why = await self._serve(socket, client, Session(client, permissions, self._parts))
            finally:
                self._hub.leave(client.subscriber)
            log.info("client.disconnected", client_id=client.client_id, agent=client.agent or None, why=why)

    def _client(self, socket: WebSocket, headers: Mapping[str, str]) -> Client:
        limits = self._limits
        return Client(
            Subscriber(max_messages=limits.waiting_messages, max_chars=limits.waiting_chars),
            address=None if socket.client is None else (socket.client.host, socket.client.port),
            query=dict(socket.query_params),
            agent=headers.get(AGENT_HEADER, "")[:200],
            agent_version=headers.get(VERSION_HEADER, "")[:50],
        )

    async def _serve(self, socket: WebSocket, client: Client, session: Session) -> str:
        ended = _Ended()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, socket, session, ended, tasks)
            tasks.start_soon(self._write, socket, client.subscriber, ended, tasks)
            tasks.start_soon(_watch, client.subscriber, ended, tasks)
        if ended.code is not None:
            with anyio.move_on_after(1, shield=True):
                await _closed(socket, ended.code)
        return ended.why

    async def _read(self, socket: WebSocket, session: Session, ended: _Ended, tasks: TaskGroup) -> None:
        nonsense = 0
        try:
            while True:
                message = await socket.receive()
                if message["type"] != "websocket.receive":
                    ended.because("it has gone", None, tasks)
                    return
                try:
                    call = read(message.get("text") or message.get("bytes") or "")
                except JsonError as err:
                    nonsense += 1
                    log.warning("message.malformed", error=str(err))
                    if nonsense > _NONSENSE_AT_MOST:
                        ended.because("it speaks another protocol", _REFUSED, tasks)
                        return
                    continue
                if call is not None:
                    await session.receive(call)
        except WebSocketDisconnect:
            ended.because("it has gone", None, tasks)
        except BackboneError as err:
            ended.because(f"the update log is away: {err}", _TRY_AGAIN, tasks)

    async def _write(self, socket: WebSocket, subscriber: Subscriber, ended: _Ended, tasks: TaskGroup) -> None:
        try:
            while True:
                for text in await subscriber.take():
                    with anyio.fail_after(self._limits.send_s):
                        await socket.send({"type": "websocket.send", "text": text})
        except TimeoutError:
            ended.because(f"it did not read for {self._limits.send_s:g} s", None, tasks)
        except (WebSocketDisconnect, RuntimeError, OSError):
            # What Starlette makes of a message for a connection that has just ended.
            ended.because("it has gone", None, tasks)


class _Ended:
    """Why a connection ended, and the code it is closed with, if it is to be told."""

    def __init__(self) -> None:
        self.why = "the server stops"
        self.code: int | None = 1001

    def because(self, why: str, code: int | None, tasks: TaskGroup) -> None:
        self.why, self.code = why, code
        tasks.cancel_scope.cancel()


async def _watch(subscriber: Subscriber, ended: _Ended, tasks: TaskGroup) -> None:
    await subscriber.overrun.wait()
    ended.because("it does not read as fast as updates come", _TRY_AGAIN, tasks)


async def _closed(socket: WebSocket, code: int) -> None:
    try:
        await socket.close(code)
    except (WebSocketDisconnect, RuntimeError, OSError):
        return


def _address(socket: WebSocket) -> str | None:
    return None if socket.client is None else f"{socket.client.host}:{socket.client.port}"
