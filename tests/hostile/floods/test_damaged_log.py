"""A damaged record in the server's log: agents that would need it start afresh, and are not refused for ever."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ..authority.programs import PATIENCE_S, Program, server  # noqa: TID252 - the programs of all hostile tests
from .test_topics import called


def resumed(program: Program, after: int) -> bool | None:
    """Come back as an agent that has everything up to a number; None if that was refused."""
    log_id = httpx.get(f"{program.url}/healthcheck").status_code and LOG_ID[program.port]
    with connect(f"ws://127.0.0.1:{program.port}/ws", proxy=None) as socket:
        try:
            return called(socket, "subscribe", topics=["t"], resume={"log": log_id, "number": after})["resumed"]
        except ConnectionClosed:
            return None


LOG_ID: dict[int, str] = {}


def test_agents_that_need_a_damaged_record_start_afresh(tmp_path: Path) -> None:
    with server(tmp_path) as ours, httpx.Client(base_url=ours.url, timeout=PATIENCE_S) as http:
        with connect(f"ws://127.0.0.1:{ours.port}/ws", proxy=None) as socket:
            assert socket.response is not None
            LOG_ID[ours.port] = socket.response.headers["X-Cabochon-Log"]
        for number in range(4):
            body = {"entries": [{"url": "", "dst_path": f"/n{number}", "data": number, "topics": ["t"]}]}
            assert 200 == http.post("/data/config", json=body).status_code
        with sqlite3.connect(tmp_path / "log.db", timeout=20) as database:
            database.execute("UPDATE record SET body = replace(body, 'n1', 'n9') WHERE number = 2")
        database.close()
        # At most once is somebody sent away while it is found.
        assert False in [resumed(ours, 0), resumed(ours, 0)]
        assert False is resumed(ours, 1)
        assert True is resumed(ours, 3)
        assert 200 == http.post("/data/config", json={"entries": []}).status_code
        assert "lost 1 records to damage" in http.get("/healthcheck").json()["problems"][0]
        assert ours.lines("update_log.record_set_aside")
