"""Publishers that note what was acknowledged, and subscribers that note what they were told: raw, on the wire."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import suppress

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

__all__ = ["Publishers", "Subscriber"]

_AGAIN_S = 0.05


class Subscriber:
    """Follows `policy_data` on the first server that lets it in, and resumes where it was whenever it is cut off.

    Attributes:
        told: the updates' ids by number, as they came.
        faults: what should not have happened.
        resumed: how often it came back and was told what it had missed.
    """

    def __init__(self, name: str, urls: Sequence[str]) -> None:
        self.told: dict[int, str] = {}
        self.faults: list[str] = []
        self.resumed = 0
        self.subscribed = anyio.Event()
        self._name = name
        self._urls = [url.replace("http", "ws", 1) + "/ws" for url in urls]
        self._log = ""
        self._number = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        turn = 0
        while True:
            with suppress(OSError, TimeoutError, WebSocketException):
                headers = {"X-Cabochon-Agent": self._name}
                url = self._urls[turn % len(self._urls)]
                async with connect(url, additional_headers=headers, max_size=None, proxy=None) as socket:
                    await self._follow(socket)
            turn += 1
            await anyio.sleep(_AGAIN_S)

    async def _follow(self, socket: ClientConnection) -> None:
        arguments = {"topics": ["policy_data"], "resume": {"log": self._log, "number": self._number}}
        call = {"request": {"method": "subscribe", "arguments": arguments, "call_id": "s"}, "response": None}
        await socket.send(json.dumps(call))
        async for raw in socket:
            message = json.loads(raw)
            if message.get("request") is not None:
                self._take(message["request"]["arguments"])
                answer = {"result": "None", "result_type": "str", "call_id": message["request"]["call_id"]}
                await socket.send(json.dumps({"request": None, "response": answer}))
            elif message["response"]["call_id"] == "s":
                self._began(message["response"]["result"])

    def _began(self, result: dict[str, object]) -> None:
        if not self._log:
            self._log, self._number = str(result["log"]), int(str(result["number"]))
            self.subscribed.set()
        elif result["resumed"] is not True:
            self.faults.append(f"not resumed after {self._number}: {result}")
        else:
            self.resumed += 1

    def _take(self, arguments: dict[str, dict[str, object]]) -> None:
        number, update_id = int(str(arguments["subscription"]["number"])), str(arguments["data"]["id"])
        if number <= self._number:
            self.faults.append(f"{number} after {self._number}")
        self._number = number
        self.told[number] = update_id


class Publishers:
    """Publish updates, several at a time; what is not acknowledged may have been lost, and is published no more.

    Attributes:
        acknowledged: the updates' ids by number.
        unsure: how many were not.
    """

    def __init__(self, urls: Sequence[str], updates: int) -> None:
        self.acknowledged: dict[int, str] = {}
        self.unsure = 0
        self._urls = urls
        self._left = updates
        self._progress = anyio.Event()

    @property
    def done(self) -> int:
        """How many were tried."""
        return len(self.acknowledged) + self.unsure

    async def until(self, done: int) -> None:
        """Wait until so many were tried."""
        while self.done < done:
            self._progress = anyio.Event()
            await self._progress.wait()

    async def run(self, at_once: int) -> None:
        """Publish all."""
        async with anyio.create_task_group() as tasks:
            for turn in range(at_once):
                tasks.start_soon(self._publish, turn)

    async def _publish(self, turn: int) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            while self._left > 0:
                self._left -= 1
                update_id = uuid.uuid4().hex
                # Paths of their own: none covers another, so none may be dropped from the log.
                body = {"id": update_id, "entries": [{"url": "", "dst_path": f"/{update_id}", "data": {"v": 1}}]}
                number: int | None = None
                connected = False
                while not connected:
                    try:
                        answer = await http.post(f"{self._urls[turn % len(self._urls)]}/data/config", json=body)
                    except httpx.ConnectError:
                        # It was not even sent: to another server, or here again.
                        turn += 1
                        await anyio.sleep(_AGAIN_S)
                    except httpx.TransportError:
                        connected = True
                    else:
                        connected = True
                        number = int(answer.headers["x-cabochon-update-number"]) if answer.is_success else None
                if number is None:
                    self.unsure += 1
                else:
                    self.acknowledged[number] = update_id
                self._progress.set()
