"""Topics, entries and calls of which there is no end: refused at once, and the server is as it was."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from ..authority.programs import PATIENCE_S, server  # noqa: TID252 - the programs of all hostile tests
from .sockets import resident

UPDATES: dict[str, dict[str, Any]] = {
    "one topic of 20,000 levels": {"entries": [{"url": "", "data": 1, "topics": ["a/" * 20_000]}]},
    "a topic of 1 MB": {"entries": [{"url": "", "data": 1, "topics": ["a" * 1_000_000]}]},
    "100,000 topics": {"entries": [{"url": "", "data": 1, "topics": [f"t{number}" for number in range(100_000)]}]},
    "entries with 64 levels each": {
        "entries": [{"url": "", "data": 1, "topics": ["/".join(["b" * 15] * 64)]} for _ in range(2_000)]
    },
    "200,000 entries": {"entries": [{"url": "", "data": 1}] * 200_000},
    "an id of 1 MB": {"id": "i" * 1_000_000, "entries": []},
    "a reason of 1 MB": {"reason": "r" * 1_000_000, "entries": []},
    "a path of 1 MB": {"entries": [{"url": "", "data": 1, "dst_path": "/" + "p" * 1_000_000}]},
}
LARGE: dict[str, Any] = {
    "id": "i" * 200,
    "reason": "because " * 100,
    "entries": [
        {
            "url": "",
            "dst_path": f"/tenants/{number}/users",
            "data": number,
            "topics": [f"tenants/{number % 1000}/users"],
        }
        for number in range(5_000)
    ],
}


def called(socket: ClientConnection, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - whatever the method gives
    call = {"request": {"method": method, "arguments": arguments, "call_id": "1"}, "response": None}
    socket.send(json.dumps(call))
    while True:
        message = json.loads(socket.recv(PATIENCE_S))
        if message["response"] is not None:
            return message["response"]["result"]


def test_update_that_is_too_much_is_refused_at_its_size_s_cost(tmp_path: Path) -> None:
    with server(tmp_path, OPAL_LARGEST_UPDATE_BYTES=str(8 << 20)) as ours:
        with httpx.Client(base_url=ours.url, timeout=PATIENCE_S) as http:
            assert 200 == http.post("/data/config", json=LARGE).status_code, "a large update of a real user"
            before, logged = resident(ours), ours.log.stat().st_size
            kept = sum(path.stat().st_size for path in tmp_path.glob("log.db*"))
            for what, update in UPDATES.items():
                begun = time.monotonic()
                answer = http.post("/data/config", json=update)
                assert 422 == answer.status_code, (what, answer.text)
                assert answer.json()["detail"][0]["loc"][0] == "body", what
                assert time.monotonic() - begun < 10.0, what
        assert resident(ours) < before + (150 << 20)
        assert ours.log.stat().st_size < logged + 10_000
        assert sum(path.stat().st_size for path in tmp_path.glob("log.db*")) < kept + 100_000


def test_connection_has_so_many_topics_and_no_more(tmp_path: Path) -> None:
    with server(tmp_path, OPAL_CLIENT_MAX_TOPICS="1000") as ours:
        with connect(f"ws://127.0.0.1:{ours.port}/ws", max_size=None, proxy=None) as socket:
            for start in (0, 500):
                assert called(socket, "subscribe", topics=[f"t{number}" for number in range(start, start + 500)])
            assert called(socket, "subscribe", topics=["t1"]), "which it has"
            assert not called(socket, "subscribe", topics=["more"])
            assert not called(socket, "subscribe", topics=[f"t{number}" for number in range(200_000)])
            assert not called(socket, "publish", topics=[f"t{number}" for number in range(200_000)], data=1)
            assert not called(socket, "publish", topics=["a" * 2_000], data=1)
            assert called(socket, "unsubscribe", topics=["t1"])
            assert called(socket, "subscribe", topics=["more"])
            before = resident(ours)
            for number in range(16):
                said = {"client_id": f"c{number}", "topics": ["t" * 1000] * 5_000}
                assert not called(socket, "publish", topics="__opal_stats_add", data=said)
            assert called(socket, "publish", topics="__opal_stats_add", data={"client_id": "c", "topics": ["a"]})
            assert resident(ours) < before + (60 << 20)
        assert max(map(len, ours.log.read_text("utf-8").splitlines())) < 5_000


def test_secrets_of_a_query_are_not_shown(tmp_path: Path) -> None:
    with server(tmp_path) as ours:
        address = f"ws://127.0.0.1:{ours.port}/ws?token=abc123&__opal_client_id=me&region=eu"
        with connect(address, proxy=None) as socket:
            assert called(socket, "ping") == "pong"
            shown = httpx.get(f"{ours.url}/pubsub_client_info").json()["me"]["query_params"]
        assert {"token": "***", "__opal_client_id": "me", "region": "eu"} == shown
        assert "abc123" not in ours.log.read_text("utf-8")
