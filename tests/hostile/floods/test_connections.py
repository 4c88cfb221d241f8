"""Connections that say nothing, too much, too slowly, or never read: each costs so much, and others are answered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ..authority.programs import PATIENCE_S, Program, limited_server, server  # noqa: TID252 - the programs of all hostile tests
from .sockets import connected, cut_within, resident, sent, upgraded

SIGNATURE = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
HEAD = b"POST /data/config HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"


def answers(program: Program) -> bool:
    begun = time.monotonic()
    is_up = httpx.get(f"{program.url}/healthcheck", timeout=PATIENCE_S).status_code == 200
    return is_up and time.monotonic() - begun < 5.0


@pytest.mark.parametrize("descriptors", [64, 256])
def test_idle_connections_leave_answers_for_others(tmp_path: Path, descriptors: int) -> None:
    with limited_server(tmp_path, descriptors) as ours:
        with ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(connected(ours))
            assert all(answers(ours) for _ in range(5))
            time.sleep(2.0)
            assert answers(ours)
        assert ours.log.stat().st_size < 200_000
        assert answers(ours)


def test_sockets_leave_answers_for_others(tmp_path: Path) -> None:
    with server(tmp_path, OPAL_SERVER_MAX_CONNECTIONS="40") as ours, ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(upgraded(ours))
        with pytest.raises(AssertionError):
            stack.enter_context(upgraded(ours))
        assert answers(ours)


def test_head_is_limited_in_size_count_and_time(tmp_path: Path) -> None:
    with server(tmp_path, OPAL_HTTP_HEAD_TIMEOUT="2") as ours:
        before = resident(ours)
        with connected(ours) as endless:
            endless.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            assert sent(endless, b"x" * 65536, 1000) < 900
        with connected(ours) as many:
            sent(many, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 2_000 + b"\r\n", 1)
            assert (cut_within(many, 5.0) or b"").startswith(b"HTTP/1.1 431")
        with connected(ours) as slow:
            assert cut_within(slow, 6.0, meanwhile=b"G") is not None
        with connected(ours) as silent:
            assert cut_within(silent, 6.0) is not None
        assert resident(ours) < before + (20 << 20)
        usual = {f"x-{number}": "y" * 200 for number in range(60)}
        assert 200 == httpx.get(f"{ours.url}/healthcheck", headers=usual).status_code


def test_slow_body_is_cut_and_a_large_one_is_not(tmp_path: Path) -> None:
    with server(tmp_path) as ours, connected(ours) as slow:
        slow.sendall(HEAD)
        begun = time.monotonic()
        large = {"entries": [{"url": "", "dst_path": "/large", "data": "x" * (30 << 20)}]}
        assert 200 == httpx.post(f"{ours.url}/data/config", json=large, timeout=PATIENCE_S).status_code
        assert cut_within(slow, 25.0, meanwhile=b"x") is not None
        assert time.monotonic() - begun > 5.0


def test_webhooks_are_not_read_for_nothing(tmp_path: Path) -> None:
    environ = {"OPAL_POLICY_REPO_WEBHOOK_SECRET": "secret", "OPAL_POLICY_REPO_URL": str(tmp_path / "none")}
    with server(tmp_path, **environ) as ours:
        before = resident(ours)
        with connected(ours) as unsigned:
            unsigned.sendall(b"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20000000\r\n\r\n")
            assert (cut_within(unsigned, 8.0) or b"").startswith(b"HTTP/1.1 401")

        def hook(_number: int) -> int:
            try:
                return httpx.post(
                    f"{ours.url}/webhook", content=bytes(24 << 20), headers=SIGNATURE, timeout=PATIENCE_S
                ).status_code
            except httpx.TransportError:
                return 503

        with ThreadPoolExecutor(10) as pool:
            assert {401, 503} >= set(pool.map(hook, range(10)))
        assert resident(ours) < before + (120 << 20)


def test_pings_that_nobody_reads_do_not_grow(tmp_path: Path) -> None:
    with server(tmp_path) as ours, upgraded(ours) as socket:
        before = resident(ours)
        ping = b"\x89\xfd" + b"\0\0\0\0" + b"p" * 125
        assert sent(socket, ping * 500, 2_000, within_s=8.0) < 2_000
        assert resident(ours) < before + (20 << 20)
        assert answers(ours)
