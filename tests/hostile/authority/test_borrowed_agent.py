"""A data source, limited as it may be, that has the agent do what it can't do itself: ask the engine as the agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_opa.testing import RealOpa

from .programs import PATIENCE_S, agent, server

EVIL = "package app\n\nallow = true\n"


def until(wanted: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_published_update_writes_no_policy_and_reads_no_secret(tmp_path: Path, opa: RealOpa) -> None:
    """
    Not by an entry, a redirect or a callback; sources and receivers on the same machine are as good as ever.
    """
    with (
        ScriptedHttpServer() as theirs,
        server(tmp_path) as ours,
        agent(tmp_path, ours, opa.url, OPAL_SHOULD_REPORT_ON_DATA_UPDATES="true") as one,
        httpx.Client(base_url=ours.url, trust_env=False) as http,
    ):
        theirs.route("/reports")
        policy = f"{opa.url}/v1/policies/app.rego"
        config: dict[str, Any] = {"method": "post", "data": EVIL, "headers": {"Content-Type": "text/plain"}}
        redirecting = theirs.route("/redirect", status=307, headers={"Location": policy})
        entries: list[tuple[str, dict[str, Any]]] = [
            (policy, {**config, "method": "put"}),
            (policy, config),
            (policy.replace("127.0.0.1", "localhost"), config),
            (redirecting, config),
            (f"{opa.url}/v1/policies", {}),
            (f"{one.url}/policy-store/config", {}),
            ("http://169.254.169.254/latest/meta-data", {}),
        ]
        for index, (url, how) in enumerate(entries):
            body = {"entries": [{"url": url, "config": how, "dst_path": f"/stolen/{index}"}]}
            assert 200 == http.post("/data/config", json=body).status_code
        callbacks = [
            [f"{opa.url}/v1/data/stolen", {"method": "put"}],
            [f"{opa.url}/v1/policies/system/opal.rego", {"method": "delete"}],
            [f"{one.url}/data-updater/trigger", {"method": "post"}],
            f"{theirs.url}/reports",
        ]
        good = {"url": theirs.route("/data", json={"ann": 1}), "dst_path": "/users"}
        body = {"entries": [good], "callback": {"callbacks": callbacks}}
        assert 200 == http.post("/data/config", json=body).status_code

        until(lambda: len(theirs.requests_to("/reports")) == 1)
        until(lambda: len(one.lines("may not be fetched")) + len(one.lines("OPAL_FETCH_METHODS")) >= len(entries))
        until(lambda: len(one.lines("may not be called")) >= 2 and len(one.lines("OPAL_CALLBACKS_METHODS")) >= 1)
        assert {"ann": 1} == httpx.get(f"{opa.url}/v1/data/users").json()["result"]
        assert "result" not in httpx.get(f"{opa.url}/v1/data/stolen").json()
        assert EVIL not in httpx.get(f"{opa.url}/v1/policies").text
