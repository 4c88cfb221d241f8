"""A server in this process, on a port of its own, and clients that speak to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect

from cabochon import Plugins, load_settings
from cabochon_opal_server import plugin
from cabochon_opal_server.server import Server, open_server
from cabochon_opal_server.settings import ServerSettings

PATIENCE_S = 20.0


class Socket:
    """A raw client: what it was notified of is in `notes`, as (topic, number, data)."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.notes: list[tuple[str, int, Any]] = []
        self._news = anyio.Event()

    async def call(self, method: str, arguments: object, *, within_s: float = PATIENCE_S) -> Any:  # noqa: ANN401 - whatever the method gives
        """Call, take notifications meanwhile, and return the answer's result."""
        call_id = uuid.uuid4().hex
        await self.send({"request": {"method": method, "arguments": arguments, "call_id": call_id}, "response": None})
        with anyio.fail_after(within_s):
            while True:
                message = json.loads(await self.connection.recv())
                if message.get("response") and message["response"]["call_id"] == call_id:
                    return message["response"]["result"]
                await self._take(message)

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        await self.connection.send(json.dumps(message))

    async def noted(self, count: int) -> list[tuple[str, int, Any]]:
        """Wait until there are so many notifications."""
        with anyio.fail_after(PATIENCE_S):
            while len(self.notes) < count:
                await self._take(json.loads(await self.connection.recv()))
        return self.notes

    async def _take(self, message: dict[str, Any]) -> None:
        request = message["request"]
        assert request["method"] == "notify"
        subscription = request["arguments"]["subscription"]
        self.notes.append((subscription["topic"], subscription["number"], request["arguments"]["data"]))
        answer = {"result": "None", "result_type": "str", "call_id": request["call_id"]}
        await self.send({"request": None, "response": answer})


class Rig:
    """A running server, an HTTP client of it, and as many sockets as wanted."""

    def __init__(self, server: Server, http: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self.server = server
        self.http = http
        self._stack = stack

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def socket(self, headers: Mapping[str, str] | None = None, query: str = "") -> Socket:
        """Connect to /ws."""
        connection = connect(f"ws://{self.url}/ws{query}", additional_headers=headers, max_size=None, proxy=None)
        return Socket(await self._stack.enter_async_context(connection))

    async def subscriber(self, *topics: str, **arguments: Any) -> Socket:
        """Connect and subscribe."""
        socket = await self.socket()
        await socket.call("subscribe", {"topics": topics, **arguments})
        return socket

    async def publish(self, *entries: Mapping[str, Any], **more: Any) -> httpx.Response:
        """Publish an update of entries that are `{dst_path, data, …}`."""
        body = {"entries": [{"url": "", **entry} for entry in entries], **more}
        return await self.http.post("/data/config", json=body)


@asynccontextmanager
async def running(
    folder: Path, environ: Mapping[str, str] | None = None, *, token: str = "", more_plugins: Sequence[Any] = ()
) -> AsyncGenerator[Rig]:
    """Run a server until the block ends."""
    environ = {
        "OPAL_BASE_DIR": str(folder),
        "OPAL_SERVER_BIND_PORT": "0",
        "OPAL_UPDATE_LOG_PATH": str(folder / "log.db"),
        **(environ or {}),
    }
    plugins = Plugins.of(("opal-server", plugin), *more_plugins)
    settings = load_settings(ServerSettings, environ)
    async with open_server(plugins, settings, environ=environ) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.ready.wait()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{server.port}"
        async with (
            AsyncExitStack() as stack,
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE_S) as http,
        ):
            yield Rig(server, http, stack)
        server.stop()
