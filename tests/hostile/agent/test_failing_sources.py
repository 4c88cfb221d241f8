"""Sources that are down, thousands of them: they cost so much and no more, and what is ready lands at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import httpx

from cabochon_opa.testing import RealOpa

from ..authority.programs import agent, server  # noqa: TID252 - a neighbour's
from .watching import ends_within_s, until, watched

# It was half a minute, growing with the square, before there was a bound.
SILENT_S = 15.0
LANDED_S = 20.0
STOPPED_S = 10.0


def test_thousands_of_entries_that_fail_delay_nothing_that_is_ready(tmp_path: Path, opa: RealOpa) -> None:
    """
    In one place or in many, of base sources or of updates: an update with its data lands, SIGTERM is obeyed.
    """
    down = [{"url": f"http://127.0.0.{1 + index % 200}:1", "dst_path": f"/base/{index}"} for index in range(1_500)]
    sources = json.dumps({"config": {"entries": down}})
    with (
        server(tmp_path, OPAL_DATA_CONFIG_SOURCES=sources) as ours,
        agent(tmp_path, ours, opa.url) as one,
        httpx.Client(base_url=ours.url, trust_env=False, timeout=30) as http,
        watched(one) as watch,
    ):
        for first in range(0, 4_000, 500):
            publish(
                http,
                *({"url": f"http://127.0.0.1:1/{index}", "dst_path": "/x"} for index in range(first, first + 500)),
            )
        for value in (1, 2):
            publish(http, {"url": "", "data": value, "dst_path": "/ready"})
            until(lambda: httpx.get(f"{opa.url}/v1/data/ready").json() == {"result": value}, within_s=LANDED_S)  # noqa: B023
            until(lambda: len(one.lines("data_update.retried")) >= 10 * value)  # noqa: B023 - called at once
        assert watch.longest_s < SILENT_S
        assert ends_within_s(one) < STOPPED_S


def publish(http: httpx.Client, *entries: Mapping[str, object]) -> None:
    assert 200 == http.post("/data/config", json={"entries": entries}).status_code
