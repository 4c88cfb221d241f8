"""A server that speaks OPAL's protocol and publishes faster than any client takes.

    .venv/bin/python benchmarks/flooding_source.py --port 7002 --modules 300

It is what a client needs and no more: `GET /policy`, `GET /data/config`, the documents that those and the updates name,
and the RPC over `/ws`, where every frame is ready before the first one goes out and at most `WINDOW` wait for their
answers. A benchmark steers it by `POST /flood` and `POST /publish`, and is told when the first frame went out, as
`time.monotonic()`, which on Linux is one clock for all processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from opa_raw import modules
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

WINDOW = 2_000
"""Updates that may be on their way without an answer."""
PATHS = 10_000
"""Documents that a flood writes; an update after these replaces one."""
TOPIC = "policy_data"
COMMIT = "a" * 40
BASE = {"tenants": {str(number): {"plan": "free", "seats": number} for number in range(100)}}
_FRAMES_A_WRITE = 100
_ANSWERS = {"_ping_": "pong", "ping": "pong", "_get_channel_id_": "flooding-source"}

Answer = Callable[[object], None]


def document(number: int) -> dict[str, Any]:
    """What update `number` writes, whether it carries it or names a URL."""
    return {"v": number, "roles": ["a", "b"]}


def dst_path(number: int) -> str:
    return f"/bulk/k{number % PATHS}"


def notification(number: int, url: str | None = None) -> bytes:
    """The WebSocket frame that publishes update `number`: with its document, or with the URL of it."""
    entry: dict[str, Any] = {
        "url": url or "",
        "config": None,
        "topics": [TOPIC],
        "dst_path": dst_path(number),
        "save_method": "PUT",
        "data": None if url else document(number),
    }
    update: dict[str, Any] = {
        "id": f"update-{number}",
        "entries": [entry],
        "reason": "flood",
        "callback": {"callbacks": []},
    }
    about = {"id": f"{1:032x}", "subscriber_id": f"{2:032x}", "topic": TOPIC, "notifier_id": None}
    call = {"method": "notify", "arguments": {"subscription": about, "data": update}, "call_id": f"{number:032x}"}
    return _text_frame({"request": call, "response": None})


def _text_frame(message: object) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=False)


def policy_bundle(count: int, base_hash: str | None) -> dict[str, Any]:
    """A full bundle, or for a client that has it already one without a change."""
    sources = {} if base_hash == COMMIT else modules(count)
    rego = [
        {"path": path, "package_name": path.removesuffix("/policy.rego").replace("/", "."), "rego": text}
        for path, text in sources.items()
    ]
    return {
        "manifest": list(modules(count)),
        "hash": COMMIT,
        "old_hash": base_hash if not sources else None,
        "data_modules": [],
        "policy_modules": rego,
        "deleted_files": None,
    }


@dataclass(slots=True)
class Flood:
    """Frames on their way to one socket."""

    frames: Sequence[bytes]
    done: Answer
    began: float = field(default_factory=time.monotonic)
    sent: int = 0


class Subscriber:
    """One WebSocket of a client."""

    def __init__(self, transport: asyncio.Transport, lost: Callable[[], None]) -> None:
        self._transport = transport
        self._lost = lost
        self._protocol = ServerProtocol(max_size=None)
        self._unanswered = 0
        self._paused = False
        self._flood: Flood | None = None
        self.topics: set[str] = set()

    def receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._take(bytes(event.data))
        for piece in self._protocol.data_to_send():
            if piece:
                self._transport.write(piece)
            else:
                self._lost()
                self._transport.close()
        self._pump()

    def _take(self, text: bytes) -> None:
        # By far the most are answers to `notify`, in one order of members or the other: no need to look into them.
        if self._unanswered and not text.startswith(b'{"request": {') and not text.startswith(b'{"request":{'):
            self._unanswered -= 1
            return
        request = json.loads(text).get("request")
        if request is None:
            return
        if request["method"] == "subscribe":
            self.topics.update(request["arguments"]["topics"])
        result = _ANSWERS.get(request["method"], True)
        response = {"result": result, "result_type": type(result).__name__, "call_id": request["call_id"]}
        self._protocol.send_text(json.dumps({"request": None, "response": response}).encode())

    def publish(self, frame: bytes) -> float:
        """Send one frame now; when that was."""
        self._unanswered += 1
        now = time.monotonic()
        self._transport.write(frame)
        return now

    def flood(self, frames: Sequence[bytes], done: Answer) -> None:
        """Send frames as fast as they are answered, and tell `done` when all have gone out."""
        self._flood = Flood(frames, done)
        self._pump()

    def pause(self, *, paused: bool) -> None:
        self._paused = paused
        self._pump()

    def _pump(self) -> None:
        flood = self._flood
        while flood is not None and not self._paused and self._protocol.state is OPEN:
            free = min(_FRAMES_A_WRITE, WINDOW - self._unanswered)
            if free <= 0:
                return
            piece = flood.frames[flood.sent : flood.sent + free]
            self._transport.write(b"".join(piece))
            self._unanswered += len(piece)
            flood.sent += len(piece)
            if flood.sent == len(flood.frames):
                self._flood = None
                flood.done({"began": flood.began, "seconds": time.monotonic() - flood.began})
                return


class Server:
    """What the connections have in common: who is subscribed, and what a request gets."""

    def __init__(self, url: str, module_count: int) -> None:
        self._url = url
        self._full = self._encoded(policy_bundle(module_count, None))
        self._unchanged = self._encoded(policy_bundle(module_count, COMMIT))
        source = {"url": f"{url}/base", "config": None, "topics": [TOPIC], "dst_path": "/base", "save_method": "PUT"}
        self._config = self._encoded({"entries": [source]})
        self._base = self._encoded(BASE)
        self.sockets: list[Subscriber] = []

    def get(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """The answer to a GET, None for 404."""
        if path.startswith("/documents/"):
            return self._encoded(document(int(path.removeprefix("/documents/"))))
        unchanged = query.get("base_hash") == [COMMIT]
        answers = {
            "/policy": self._unchanged if unchanged else self._full,
            "/data/config": self._config,
            "/base": self._base,
            "/subscribers": self._encoded(sum(TOPIC in one.topics for one in self.sockets)),
        }
        return answers.get(path, b'{"status":"ok"}')

    def post(self, path: str, query: dict[str, list[str]], answer: Answer) -> None:
        """Do what the benchmark says: publish updates `first` to `first + updates`, or one with this number."""
        target = next(one for one in self.sockets if TOPIC in one.topics)
        first, fetched = int(query["first"][0]), query.get("fetched") == ["1"]
        if path == "/publish":
            answer({"at": target.publish(notification(first))})
            return
        numbers = range(first, first + int(query["updates"][0]))
        target.flood([notification(n, f"{self._url}/documents/{n}" if fetched else None) for n in numbers], answer)

    @staticmethod
    def _encoded(value: object) -> bytes:
        return json.dumps(value).encode()


class Connection(asyncio.Protocol):
    """One TCP connection: HTTP requests without bodies, or after an upgrade a subscriber."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport
        self._subscriber: Subscriber | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def pause_writing(self) -> None:
        if self._subscriber is not None:
            self._subscriber.pause(paused=True)

    def resume_writing(self) -> None:
        if self._subscriber is not None:
            self._subscriber.pause(paused=False)

    def data_received(self, data: bytes) -> None:
        if self._subscriber is not None:
            self._subscriber.receive(data)
            return
        self._buffer += data
        while b"\r\n\r\n" in self._buffer and self._subscriber is None:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._request(head)

    def _request(self, head: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        if parts.path == "/ws":
            self._subscriber = Subscriber(self._transport, self._forget)
            self._server.sockets.append(self._subscriber)
            self._subscriber.receive(head + b"\r\n\r\n")
        elif method == "POST":
            self._server.post(parts.path, query, lambda value: self._answer(json.dumps(value).encode()))
        else:
            self._answer(self._server.get(parts.path, query))

    def _answer(self, body: bytes | None) -> None:
        status = b"200 OK" if body is not None else b"404 Not Found"
        body = body if body is not None else b'{"detail":"Not Found"}'
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)

    def _forget(self) -> None:
        if self._subscriber is not None and self._subscriber in self._server.sockets:
            self._server.sockets.remove(self._subscriber)


async def serve(port: int, module_count: int) -> None:
    """Serve until the process ends."""
    state = Server(f"http://127.0.0.1:{port}", module_count)
    listener = await asyncio.get_running_loop().create_server(lambda: Connection(state), "127.0.0.1", port)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--modules", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.modules))
