"""Callbacks that others name: however many, and whatever they do, the agent goes on answering, and ends when told."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx

from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_opa.testing import RealOpa

from ..authority.programs import agent, server  # noqa: TID252 - a neighbour's
from .watching import ends_within_s, until, watched

# It took seconds, growing with the square, before there was a bound.
SILENT_S = 2.0
STOPPED_S = 10.0


def test_callbacks_that_refuse_cost_the_agent_nothing(tmp_path: Path, opa: RealOpa) -> None:
    """
    Two thousand in one update: those that it may name are tried, the next update lands, SIGTERM is obeyed.
    """
    with (
        server(tmp_path) as ours,
        agent(tmp_path, ours, opa.url, OPAL_SHOULD_REPORT_ON_DATA_UPDATES="true") as one,
        httpx.Client(base_url=ours.url, trust_env=False) as http,
    ):
        refusing = [f"http://127.0.0.1:1/{index}" for index in range(2_000)]
        with watched(one) as watch:
            publish(http, 1, refusing)
            until(lambda: bool(one.lines("OPAL_REPORT_RECEIVERS")))
            publish(http, 2, [])
            until(lambda: httpx.get(f"{opa.url}/v1/data/x").json() == {"result": 2}, within_s=5)
            time.sleep(3)
        assert watch.longest_s < SILENT_S
        assert ends_within_s(one) < STOPPED_S


def test_registered_callbacks_are_all_told_while_others_hang(tmp_path: Path, opa: RealOpa) -> None:
    """
    Five hundred that take reports get them all beside as many that refuse, and the agent answers meanwhile.
    """
    with ScriptedHttpServer() as theirs, server(tmp_path) as ours:
        taking = [theirs.route(f"/{index}") for index in range(500)]
        down = [f"http://127.0.0.1:1/{index}" for index in range(500)]
        callbacks = json.dumps({"callbacks": [*down, *taking]})
        environ = {"OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "true", "OPAL_DEFAULT_UPDATE_CALLBACKS": callbacks}
        with (
            agent(tmp_path, ours, opa.url, **environ) as one,
            httpx.Client(base_url=ours.url, trust_env=False) as http,
        ):
            with watched(one) as watch:
                publish(http, 1, [])
                until(lambda: len(theirs.requests_to("/499")) + len(theirs.requests_to("/0")) >= 2, within_s=30)
            assert watch.longest_s < SILENT_S
            assert ends_within_s(one) < STOPPED_S


def publish(http: httpx.Client, value: int, callbacks: list[str]) -> None:
    entries = [{"url": "", "dst_path": "/x", "data": value}]
    body = {"entries": entries, "callback": {"callbacks": callbacks}}
    assert 200 == http.post("/data/config", json=body).status_code
