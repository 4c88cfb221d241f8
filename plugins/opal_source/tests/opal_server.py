"""An OPAL server that does what a test tells it to: the WebSocket and the HTTP routes that an agent needs.

It runs in threads of its own, so that it serves either of anyio's backends, and records what it is asked.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import anyio
import msgspec
from anyio import to_thread
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, DataUpdate
from cabochon.testing.update_source_contract import UpdateFeed

WITHIN_S = 10.0

Query = dict[str, list[str]]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the server's threads."""
    with anyio.fail_after(WITHIN_S):
        while not condition():  # noqa: ASYNC110 # it happens in threads
            await anyio.sleep(0.002)


class Peer:
    """One agent's connection: what it called, what it answered."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        request = connection.request
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()} if request else {}
        self.calls: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.topics: list[str] = []
        self.closed = threading.Event()

    def send(self, frame: str | bytes) -> None:
        self.connection.send(frame, text=True)

    def call(self, method: str, arguments: object) -> str:
        """Call the agent; the call's id."""
        call_id = uuid.uuid4().hex
        self.send(msgspec.json.encode({"request": request(method, arguments, call_id), "response": None}))
        return call_id

    def notify(self, data: object, topic: str = "policy_data") -> str:
        return self.call("notify", notification(data, topic))

    async def close(self, code: int = 1001) -> None:
        await to_thread.run_sync(self.connection.close, code)

    def cut(self) -> None:
        """Break the connection without a word."""
        with suppress(OSError):
            self.connection.socket.shutdown(socket.SHUT_RDWR)
        self.connection.recv_messages.close()

    def methods(self) -> list[str]:
        return [call["method"] for call in self.calls]


def request(method: str, arguments: object, call_id: str) -> dict[str, object]:
    return {"method": method, "arguments": arguments, "call_id": call_id}


def notification(data: object, topic: str) -> dict[str, object]:
    subscription = {"id": uuid.uuid4().hex, "subscriber_id": uuid.uuid4().hex, "topic": topic, "notifier_id": None}
    return {"subscription": subscription, "data": data}


class OpalServer(UpdateFeed):
    """Listens on 127.0.0.1 while it is entered."""

    base_data = DataSourceConfig(
        entries=(DataSourceEntryWithPollingInterval(url="http://data.example/users", dst_path="/users"),)
    )

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.policies: Mapping[str, str] | None = {"authz.rego": "package authz\n", "app/x.rego": "package app.x\n"}
        self.peers: list[Peer] = []
        self.requests: list[tuple[str, Query, dict[str, str]]] = []
        self.routes: dict[str, Callable[[Query], tuple[int, bytes, dict[str, str]]]] = {}
        self.refuse_with: int | None = None
        self.subscribe_with: object = True
        self.progress_with: object = 0
        self.log: str | None = None
        self.silent = False
        self.port = port
        self._history: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        self._server = serve(
            self._serve,
            "127.0.0.1",
            self.port,
            process_request=self._http,
            process_response=self._say_log,
            max_size=None,
            compression=None,
            ssl=self.tls,
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for peer in self.peers:
            if not peer.closed.is_set():
                peer.cut()
        for peer in self.peers:
            peer.closed.wait(WITHIN_S)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def seen(self, path: str) -> list[tuple[Query, dict[str, str]]]:
        return [(query, headers) for where, query, headers in self.requests if where == path]

    async def subscribed(self, count: int = 1) -> Peer:
        """Wait for the subscription of the agent's `count`-th connection."""
        await until(lambda: len(self.peers) >= count and bool(self.peers[count - 1].topics))
        return self.peers[count - 1]

    # ------------------------------------------------------------------------------------------------- the kit's feed

    async def publish(self, update: DataUpdate) -> None:
        raw = msgspec.json.encode({"request": request("notify", notification(update, "policy_data"), uuid.uuid4().hex)})
        await self._to_the_newest(lambda peer: peer.send(raw))

    async def publish_malformed(self) -> None:
        await self._to_the_newest(lambda peer: peer.notify({"entries": "hunter2"}))

    async def change_policies(self, policies: Mapping[str, str]) -> None:
        self.policies = dict(policies)

    async def _to_the_newest(self, act: Callable[[Peer], object]) -> None:
        await self.subscribed(max(len(self.peers), 1))
        with anyio.CancelScope():
            await to_thread.run_sync(partial(_unless_gone, act, self.peers[-1]), abandon_on_cancel=True)

    # --------------------------------------------------------------------------------------------------------- answers

    def _http(self, connection: ServerConnection, asked: Request) -> Response | None:
        del connection
        url = urlsplit(asked.path)
        headers = {name.lower(): value for name, value in asked.headers.raw_items()}
        if url.path == "/ws":
            return None if self.refuse_with is None else _response(self.refuse_with, b"no", {})
        query = parse_qs(url.query)
        self.requests.append((url.path, query, headers))
        route = self.routes.get(url.path)
        if route is not None:
            return _response(*route(query))
        if url.path == "/data/config":
            return _response(200, msgspec.json.encode(self.base_data), {})
        if url.path == "/policy":
            return _response(200, json.dumps(self._bundle(query)).encode(), {})
        return _response(404, b'{"detail": "Not Found"}', {})

    def _say_log(self, connection: ServerConnection, asked: Request, response: Response) -> None:
        del connection, asked
        if self.log is not None:
            response.headers["X-Cabochon-Log"] = self.log

    def _bundle(self, query: Query) -> dict[str, Any]:
        now = dict(self.policies or {})
        name = hashlib.sha1(json.dumps(now).encode()).hexdigest()  # noqa: S324 # a commit's hash
        self._history[name] = now
        base = query.get("base_hash", [""])[0]
        old = self._history.get(base)
        changed = {path: rego for path, rego in now.items() if old is None or old.get(path) != rego}
        gone = [path for path in old or {} if path not in now]
        return {
            "manifest": list(changed),
            "hash": name,
            "old_hash": base if old is not None else None,
            "data_modules": [],
            "policy_modules": [{"path": path, "package_name": "", "rego": rego} for path, rego in changed.items()],
            "deleted_files": {"data_modules": [], "policy_modules": gone} if gone else None,
        }

    def _serve(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        self.peers.append(peer)
        try:
            for raw in connection:
                message = json.loads(raw)
                answer, call = message.get("response"), message.get("request")
                if answer is not None:
                    peer.answers[answer["call_id"]] = answer
                if call is not None:
                    self._answer(peer, call)
        except ConnectionClosed:
            pass
        finally:
            peer.closed.set()

    def _answer(self, peer: Peer, call: dict[str, Any]) -> None:
        peer.calls.append(call)
        if self.silent:
            return
        result: object = True
        if call["method"] == "_ping_":
            result = "pong"
        elif call["method"] == "subscribe":
            result = self.subscribe_with
        elif call["method"] == "progress":
            result = self.progress_with
        response = {"result": result, "result_type": type(result).__name__, "call_id": call["call_id"]}
        peer.send(json.dumps({"request": None, "response": response}))
        if call["method"] == "subscribe":
            peer.topics = call["arguments"]["topics"]


def _unless_gone(act: Callable[[Peer], object], peer: Peer) -> None:
    try:
        act(peer)
    except (ConnectionClosed, OSError):
        return


def _response(status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close", **headers}
    return Response(status, HTTPStatus(status).phrase, Headers(fields), body)
