"""Redis wiped under a fleet: what is acknowledged afterwards reaches who was connected."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cabochon_redis_backbone.testing import RedisServer

from ..authority.programs import PATIENCE_S, server  # noqa: TID252 - the programs of all hostile tests
from .test_topics import called


def test_update_after_a_wipe_reaches_who_was_connected(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    update = {"entries": [{"url": "", "dst_path": "/after", "data": 1, "topics": ["t"]}]}
    try:
        with server(tmp_path, OPAL_BROADCAST_URI=redis.url) as ours:
            address = f"ws://127.0.0.1:{ours.port}/ws"
            with connect(address, proxy=None) as agent:
                begun = called(agent, "subscribe", topics=["t"], resume={"log": "", "number": 0})
                for _ in range(3):
                    httpx.post(f"{ours.url}/data/config", json=update).raise_for_status()
                with socket.create_connection(("127.0.0.1", redis.port)) as raw:
                    raw.sendall(b"FLUSHALL\r\n")
                    assert raw.recv(100).startswith(b"+OK")
                end = time.monotonic() + PATIENCE_S
                while httpx.post(f"{ours.url}/data/config", json=update).status_code != 200:
                    assert time.monotonic() < end
                wiped_at = time.monotonic()
                try:
                    while True:
                        agent.recv(PATIENCE_S)
                except ConnectionClosed:
                    assert time.monotonic() - wiped_at < 10.0
            with connect(address, proxy=None) as agent:
                resume = {"log": begun["log"], "number": begun["number"] + 3}
                answer = called(agent, "subscribe", topics=["t"], resume=resume)
                assert (False, 0) == (answer["resumed"], answer["number"])
                note = json.loads(agent.recv(PATIENCE_S))["request"]["arguments"]
                assert ("t", 1) == (note["subscription"]["topic"], note["subscription"]["number"])
                httpx.post(f"{ours.url}/data/config", json=update).raise_for_status()
                note = json.loads(agent.recv(PATIENCE_S))["request"]["arguments"]
                assert 2 == note["subscription"]["number"], "and what comes then, once"
            assert 1 == len(ours.lines("update_log.replaced"))
    finally:
        redis.stop()
