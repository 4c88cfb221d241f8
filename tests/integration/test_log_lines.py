"""What OPAL's page says to look for in the log after an update, found in the log of an agent on a real OPA."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_opa.testing import RealOpa, opa_or_skip

CABOCHON = str(Path(sys.executable).with_name("cabochon"))


@pytest.fixture(scope="module")
def log_of_an_agent(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every event of an agent that takes one update: fetched, written into OPA, reported."""
    folder = tmp_path_factory.mktemp("agent")
    with ScriptedHttpServer() as server, RealOpa(opa_or_skip()) as opa:
        server.route("/report", status=200)
        url = server.route("/location", json={"country": "US"}) + "?token=hunter2"
        update = {"id": "c83b", "reason": "moved", "entries": [{"url": url, "dst_path": "/users/bob/location"}]}
        (folder / "updates.jsonl").write_text(json.dumps(update) + "\n")
        chosen = {
            "OPAL_POLICY_STORE_TYPE": "OPA",
            "OPAL_POLICY_STORE_URL": opa.url,
            "OPAL_INLINE_OPA_ENABLED": "false",
            "OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED": "true",
            "OPAL_CLIENT_API_SERVER_PORT": "0",
            "OPAL_UPDATE_SOURCE": "local",
            "OPAL_LOCAL_UPDATES": str(folder / "updates.jsonl"),
            "OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "true",
            "OPAL_DEFAULT_UPDATE_CALLBACKS": f"{server.url}/report",
            "OPAL_LOG_LEVEL": "DEBUG",
            "OPAL_LOG_SERIALIZE": "true",
            "OPAL_LOG_DIAGNOSE": "true",
            "OPAL_FETCH_PROVIDER_MODULES": "opal_common.fetcher.providers,opal_fetcher_postgres.provider",
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
        done = subprocess.run(
            [CABOCHON, "agent", "run"], env={**others, **chosen}, capture_output=True, text=True, check=True, timeout=60
        )
    return [json.loads(line) for line in done.stderr.splitlines()]


LOOKED_FOR: list[dict[str, Any]] = [
    {"event": "data_update.received", "level": "debug", "update_id": "c83b", "topic": "policy_data", "entries": 1},
    {"event": "fetch.succeeded", "level": "debug", "update_id": "c83b", "dst_path": "/users/bob/location"},
    {
        "event": "transaction.ended",
        "level": "info",
        "update_id": "c83b",
        "actions": ["set_policy_data"],
        "success": True,
    },
    {
        "event": "health_check.transaction",
        "transaction_id": "c83b",
        "actions": ["set_policy_data"],
        "success": True,
        "error": "",
    },
    {"event": "health_check.persisted", "ready": True, "healthy": True},
    {"event": "report.delivered", "level": "debug", "update_id": "c83b"},
]


@pytest.mark.parametrize("line", LOOKED_FOR, ids=lambda line: line["event"])
def test_step_is_in_the_log(log_of_an_agent: list[dict[str, Any]], line: Mapping[str, Any]) -> None:
    """
    Received, fetched, in force, healthy, reported: each with the id of the update.
    """
    same = [event for event in log_of_an_agent if event["event"] == line["event"]]

    assert any(line.items() <= event.items() for event in same), same


def test_steps_are_in_order(log_of_an_agent: list[dict[str, Any]]) -> None:
    """
    As they happen.
    """
    steps = [line["event"] for line in LOOKED_FOR]
    of_the_update = [
        one["event"] for one in log_of_an_agent if "c83b" in {one.get("update_id"), one.get("transaction_id")}
    ]

    assert [step for step in steps if step in of_the_update] == [step for step in of_the_update if step in steps]


def test_change_of_health_is_said_once_at_info_in_opal_s_words(log_of_an_agent: list[dict[str, Any]]) -> None:
    """
    Who greps for the line on OPAL's page finds it.
    """
    said = [one for one in log_of_an_agent if one["event"] == "health_check.persisted" and one["level"] == "info"]

    assert "persisting health check policy: ready=true, healthy=true" == said[-1]["message"]
    assert len(said) == len({(one["ready"], one["healthy"]) for one in said})


def test_start_is_one_line(log_of_an_agent: list[dict[str, Any]]) -> None:
    """
    Version, store, source, plugins.
    """
    (line,) = [one for one in log_of_an_agent if one["event"] == "agent.opened"]

    assert ("OPA", "local") == (line["policy_store"], line["update_source"])
    assert {"opa", "local-source", "http-fetcher", "callbacks"} <= set(line["plugins"].split(", "))
    assert line["version"]


def test_start_warns_of_what_opal_has_and_we_do_not(log_of_an_agent: list[dict[str, Any]]) -> None:
    """
    A variable with its reason, and a module of fetch providers with the way to a plugin.
    """
    warned = {one["event"]: one for one in log_of_an_agent if one["level"] == "warning"}

    assert {"setting.unsupported", "fetch_provider.not_loaded"} == warned.keys()
    assert "OPAL_LOG_DIAGNOSE" == warned["setting.unsupported"]["variable"]
    assert "tokens" in warned["setting.unsupported"]["why"]
    assert "opal_fetcher_postgres.provider" == warned["fetch_provider.not_loaded"]["module"]


def test_log_holds_neither_the_document_nor_a_secret_of_the_url(log_of_an_agent: list[dict[str, Any]]) -> None:
    """
    Not even at DEBUG.
    """
    text = json.dumps(log_of_an_agent)

    assert "hunter2" not in text
    assert "country" not in text
