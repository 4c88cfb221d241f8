"""An OPAL server that tells of a model, and misbehaves as its script says."""

from __future__ import annotations

import json
from collections import Counter
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from .faults import Ending, Faults, HttpFault, UpgradeFault
from .model import TOPIC, Model
from .session import ConnectionEndedError, Session, reset

__all__ = ["ScriptedServer"]

_LONGEST_HEAD = 65_536
_SLOW_S = 0.8
_HANG_S = 4.0
_SEND_S = 1.0
_GONE = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    ConnectionEndedError,
)


class ScriptedServer:
    """Listens at `port` of 127.0.0.1 while `serve` runs.

    Attributes:
        lost: how many subscribed sessions have ended so far; the agent connects again after each.
        done: how often what went wrong.
    """

    def __init__(self, port: int, model: Model, faults: Faults) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.lost = 0
        self.done: Counter[str] = Counter()
        self._port = port
        self._model = model
        self._faults = faults
        self._sessions: dict[Session, bool] = {}
        self._leave = anyio.Event()
        self._away_s = 0.0

    @property
    def is_calm(self) -> bool:
        """Tell whether an agent is subscribed, in a session that nothing is planned for."""
        return any(session.topics and lives for session, lives in self._sessions.items())

    async def serve(self) -> None:
        """Serve until cancelled, except while it is away."""
        while True:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
            self._leave = anyio.Event()
            async with listener, anyio.create_task_group() as connections:
                connections.start_soon(listener.serve, self._connected)
                await self._leave.wait()
                connections.cancel_scope.cancel()
            self.done["server gone"] += 1
            await anyio.sleep(self._away_s)

    def leave(self, seconds: float) -> None:
        """Break all connections, and don't listen for so long."""
        self._away_s = seconds
        self._faults.let_live()
        self._leave.set()

    async def lose_session(self) -> None:
        """End the session that nothing is planned for, if there is one."""
        for session in [one for one, lives in self._sessions.items() if lives]:
            await session.end(Ending.END)

    async def publish_update(self) -> None:
        """Change documents and say so."""
        await self._publish(TOPIC, self._model.next_update(self.url))

    async def publish_policies(self) -> None:
        """Change policies and say so."""
        await self._publish("policy:.", self._model.change_policies())

    async def _publish(self, topic: str, data: object) -> None:
        # Whoever subscribes from here on asks for the changed state.
        for session in [one for one in self._sessions if topic in one.topics]:
            try:
                with anyio.move_on_after(_SEND_S):
                    await session.notify(topic, data)
            except _GONE:
                continue

    # --------------------------------------------------------------------------------------------------- connections

    async def _connected(self, stream: anyio.abc.ByteStream) -> None:
        requests = BufferedByteReceiveStream(stream)
        try:
            async with stream:
                while True:
                    head = await requests.receive_until(b"\r\n\r\n", _LONGEST_HEAD)
                    url = urlsplit(head.split(b" ", 2)[1].decode("ascii"))
                    if url.path == "/ws":
                        await self._upgrade(stream, head + b"\r\n\r\n")
                        return
                    await self._answer(stream, url.path, parse_qs(url.query))
        except _GONE:
            return

    async def _upgrade(self, stream: anyio.abc.ByteStream, head: bytes) -> None:
        fault = self._faults.upgrade()
        if fault is not None:
            self.done[f"upgrade: {fault.name.lower()}"] += 1
        match fault:
            case UpgradeFault.FORBIDDEN:
                await stream.send(_response(403, b'{"detail": "no"}'))
            case UpgradeFault.UNAVAILABLE:
                await stream.send(_response(503, b"starting"))
            case UpgradeFault.RESET:
                await reset(stream)
            case UpgradeFault.HALF:
                await stream.send(b"HTTP/1.1 101 Switching Pro")
            case UpgradeFault.MUTE:
                with anyio.move_on_after(self._faults.seconds(_SLOW_S)):
                    await Session(stream, mute=True).run(head)
                await reset(stream)
            case UpgradeFault.LATE:
                await anyio.sleep(self._faults.seconds(_SLOW_S))
                await self._session(stream, head)
            case None:
                await self._session(stream, head)

    async def _session(self, stream: anyio.abc.ByteStream, head: bytes) -> None:
        session, plan = Session(stream), self._faults.session()
        self._sessions[session] = plan is None
        try:
            with anyio.move_on_after(None if plan is None else plan.lasts_s):
                await session.run(head)
            del self._sessions[session]
            if plan is not None:
                self.done[f"session: {plan.ending.name.lower()}"] += 1
                await session.end(plan.ending)
        finally:
            self._sessions.pop(session, None)
            self.lost += bool(session.topics)

    async def _answer(self, stream: anyio.abc.ByteStream, path: str, query: dict[str, list[str]]) -> None:
        body, fault = self._body(path, query), self._faults.request()
        if fault is not None:
            self.done[f"{_kind(path)}: {fault.name.lower()}"] += 1
        match fault:
            case HttpFault.ERROR:
                await stream.send(_response(500, b'{"detail": "no"}'))
            case HttpFault.NO_JSON:
                await stream.send(_response(200, body[: len(body) // 2]))
            case HttpFault.HALF:
                response = _response(200, body)
                await stream.send(response[: len(response) - len(body) // 2])
                raise ConnectionEndedError
            case HttpFault.RESET:
                await reset(stream)
                raise ConnectionEndedError
            case HttpFault.HANG:
                await anyio.sleep(_HANG_S)
                raise ConnectionEndedError
            case HttpFault.SLOW:
                await anyio.sleep(self._faults.seconds(_SLOW_S))
                await stream.send(_response(200, body))
            case None:
                await stream.send(_response(200, body))

    def _body(self, path: str, query: dict[str, list[str]]) -> bytes:
        name = path.rsplit("/", 1)[-1]
        match _kind(path):
            case "config":
                found = self._model.sources(self.url)
            case "policy":
                found = self._model.bundle(query.get("base_hash", [None])[0])
            case "areas":
                found = self._model.area(name)
            case _:
                found = self._model.documents[int(name)]
        return json.dumps(found).encode()


def _kind(path: str) -> str:
    return {"/data/config": "config", "/policy": "policy"}.get(path, path.split("/")[1])


def _response(status: int, body: bytes) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body
