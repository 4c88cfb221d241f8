"""A token that ends while its connection is open."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .programs import server
from .tokens import KEYS, bearer, token


def test_connection_ends_with_its_token(tmp_path: Path) -> None:
    """
    It follows and publishes no longer; one with a longer token goes on.
    """
    with server(tmp_path, **KEYS) as ours:
        short, long = (bearer(token(ours, "datasource", ttl=ttl)) for ttl in (3, 600))
        url = f"ws://127.0.0.1:{ours.port}/ws"
        call = {"method": "subscribe", "arguments": {"topics": ["policy_data"]}, "call_id": "1"}
        with (
            connect(url, additional_headers=short, proxy=None) as ending,
            connect(url, additional_headers=long, proxy=None) as staying,
        ):
            for socket in (ending, staying):
                socket.send(json.dumps({"request": call, "response": None}))
                assert json.loads(socket.recv(timeout=10))["response"]["result"] is True
            began = time.monotonic()
            with pytest.raises(ConnectionClosed) as closed:
                ending.recv(timeout=10)
            assert (1008, True) == (closed.value.rcvd and closed.value.rcvd.code, time.monotonic() - began < 6)
            update = {"entries": [{"url": "", "dst_path": "/x", "data": 1}]}
            assert 401 == httpx.post(f"{ours.url}/data/config", json=update, headers=short).status_code
            assert 200 == httpx.post(f"{ours.url}/data/config", json=update, headers=long).status_code
            assert json.loads(staying.recv(timeout=10))["request"]["method"] == "notify"
