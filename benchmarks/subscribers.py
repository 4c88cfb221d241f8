"""Load for a server: subscribers and publishers that cost as little as they can, in a process of their own.

Run by `server_vs_opal.py`: `subscribers.py PORT SUBSCRIBERS PUBLISHERS UPDATES`; prints one JSON line. Every subscriber
answers each notification, as the protocol asks, and counts what it was told, in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import deque

_ID = re.compile(rb'"call_id": ?"([0-9a-f]+)"')
_NUMBER = re.compile(rb'"v": ?(\d+)')
_AT_ONCE = 50
_WITHIN_S = 120.0


def frame(text: bytes) -> bytes:
    """Frame a message as a client does, masked with zeros."""
    if len(text) < 126:
        return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text
    return bytes([0x81, 0x80 | 126]) + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text


class Subscriber(asyncio.Protocol):
    """A WebSocket client by hand: frames of the server are not masked and, here, never in pieces."""

    def __init__(self, expected: int) -> None:
        loop = asyncio.get_running_loop()
        self.subscribed: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.told = 0
        self.disorder = 0
        self._expected = expected
        self._last = -1
        self._data = bytearray()
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        """Take what came, frame by frame."""
        self._data += data
        if not self._open:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            assert b" 101 " in self._data[:40], bytes(self._data[:80])
            del self._data[: end + 4]
            self._open = True
            call = {"method": "subscribe", "arguments": {"topics": ["policy_data"]}, "call_id": "ab"}
            self._transport.write(frame(json.dumps({"request": call, "response": None}).encode()))
        answers: list[bytes] = []
        while (text := self._next()) is not None:
            if b'"notify"' in text[:200]:
                answers.append(self._notified(text))
            elif not self.subscribed.done():
                self.subscribed.set_result(None)
        if answers:
            self._transport.write(b"".join(answers))
        if self.told >= self._expected and not self.done.done():
            self.done.set_result(None)

    def _next(self) -> bytes | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            if len(data) < 4:
                return None
            size, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + size:
            return None
        opcode, text = data[0] & 15, bytes(data[start : start + size])
        del data[: start + size]
        if opcode == 9:
            self._transport.write(bytes([0x8A, 0x80 | size]) + b"\0\0\0\0" + text)
            return self._next()
        return text

    def _notified(self, text: bytes) -> bytes:
        self.told += 1
        found, number = _ID.search(text), _NUMBER.search(text)
        assert found is not None
        assert number is not None
        # Publishers race each other, so numbers come a little mixed; one too many or too few shows in `told`.
        self.disorder += int(number[1]) < self._last - 1_000
        self._last = int(number[1])
        answer = b'{"request":null,"response":{"result":"None","result_type":"str","call_id":"%b"}}' % found[1]
        return frame(answer)


class Publisher(asyncio.Protocol):
    """Posts one update after the other over one connection."""

    def __init__(self, bodies: deque[bytes], took: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bodies = bodies
        self._took = took
        self._data = bytearray()
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Take an answer, and post the next."""
        self._data += data
        if not self._data.endswith(b'"ok"}'):
            return
        assert b" 200 " in self._data[:20], bytes(self._data)
        self._took.append(time.perf_counter() - self._sent_at)
        self._data.clear()
        self._next()

    def _next(self) -> None:
        if not self._bodies:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._bodies.popleft())


def body(number: int) -> bytes:
    """Write a request that publishes an update of about 150 bytes."""
    entry = {"url": "", "topics": ["policy_data"], "dst_path": f"/f/k{number % 10_000}", "data": {"v": number}}
    text = json.dumps({"entries": [entry], "reason": "load"}).encode()
    head = b"POST /data/config HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(text) + text


async def main(port: int, subscribers: int, publishers: int, updates: int) -> None:
    """Connect, publish, wait until everyone has everything, and say how it went."""
    loop = asyncio.get_running_loop()
    connected: list[Subscriber] = []
    for first in range(0, subscribers, _AT_ONCE):
        some = [Subscriber(updates) for _ in range(first, min(first + _AT_ONCE, subscribers))]
        for one in some:
            await loop.create_connection(lambda one=one: one, "127.0.0.1", port)
        await asyncio.wait_for(asyncio.gather(*(one.subscribed for one in some)), _WITHIN_S)
        connected += some
    print(json.dumps({"connected": len(connected)}), flush=True)
    sys.stdin.readline()
    took: list[float] = []
    bodies = deque(body(number) for number in range(updates))
    began, cpu = time.perf_counter(), time.process_time()
    posting: list[Publisher] = []
    for _ in range(publishers):
        _, one = await loop.create_connection(lambda: Publisher(bodies, took), "127.0.0.1", port)
        posting.append(one)
    await asyncio.wait_for(asyncio.gather(*(one.done for one in posting)), _WITHIN_S)
    published = time.perf_counter() - began
    missing = False
    try:
        await asyncio.wait_for(asyncio.gather(*(one.done for one in connected)), _WITHIN_S)
    except TimeoutError:
        missing = True
    delivered = time.perf_counter() - began
    told = sum(one.told for one in connected)
    took.sort()
    print(
        json.dumps(
            {
                "published_per_s": round(updates / published),
                "delivered_per_s": round(told / delivered),
                "missing": subscribers * updates - told if missing else 0,
                "twice": max(0, told - subscribers * updates),
                "p50_ms": round(took[len(took) // 2] * 1e3, 2),
                "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 2),
                "load_cpu_s": round(time.process_time() - cpu, 2),
            }
        ),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*(int(argument) for argument in sys.argv[1:])))
