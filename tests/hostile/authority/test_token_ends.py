"""A token that ends while its connection is open."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .programs import Program, server
from .tokens import KEYS, bearer, token


def _subscribe(socket: ClientConnection) -> None:
    call = {"method": "subscribe", "arguments": {"topics": ["policy_data"]}, "call_id": "1"}
    socket.send(json.dumps({"request": call, "response": None}))
    assert json.loads(socket.recv(timeout=30))["response"]["result"] is True


def _closed_in_time(ours: Program, url: str, lifetime_s: int) -> bool:
    """Subscribe with a token that ends soon, and see the connection closed; False where that was not as soon."""
    began, subscribed = time.monotonic(), False
    short = bearer(token(ours, "datasource", ttl=lifetime_s))
    with connect(url, additional_headers=short, proxy=None) as ending, pytest.raises(ConnectionClosed) as closed:
        _subscribe(ending)
        subscribed = True
        ending.recv(timeout=4 * lifetime_s)
    assert 1008 == (closed.value.rcvd and closed.value.rcvd.code)
    update = {"entries": [{"url": "", "dst_path": "/x", "data": 1}]}
    assert 401 == httpx.post(f"{ours.url}/data/config", json=update, headers=short).status_code
    return subscribed and time.monotonic() - began < 2 * lifetime_s


def test_connection_ends_with_its_token(tmp_path: Path) -> None:
    """
    It follows and publishes no longer; one with a longer token goes on.
    """
    with server(tmp_path, **KEYS) as ours:
        url = f"ws://127.0.0.1:{ours.port}/ws"
        long = bearer(token(ours, "datasource", ttl=600))
        with connect(url, additional_headers=long, proxy=None) as staying:
            _subscribe(staying)
            # Three seconds are no time for a server on a machine that others keep busy; then a longer token shows it.
            assert any(_closed_in_time(ours, url, lifetime_s) for lifetime_s in (3, 12))
            update = {"entries": [{"url": "", "dst_path": "/x", "data": 1}]}
            assert 200 == httpx.post(f"{ours.url}/data/config", json=update, headers=long).status_code
            assert json.loads(staying.recv(timeout=30))["request"]["method"] == "notify"
