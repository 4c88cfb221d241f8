"""The routes of the agent's API, asked over a real socket."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from cabochon import ConfigurationError
from cabochon.schemas import DataSourceEntryWithPollingInterval

from .rig import Open

HEALTHY = (200, {"status": "ok", "online": True})
UNAVAILABLE = (503, {"status": "unavailable"})
PROBES = ("/", "/healthcheck", "/healthy")


def answer(response: httpx.Response) -> tuple[int, Any]:
    return response.status_code, response.json()


async def test_probes_say_that_all_is_well(opened: Open) -> None:
    """
    With the peer's bodies; HEAD works too.
    """
    rig = await opened()
    await rig.until(lambda: rig.agent.pipeline.log.healthy)

    assert [HEALTHY] * 3 == [answer(await rig.client.get(path)) for path in PROBES]
    assert (200, {"status": "ok"}) == answer(await rig.client.get("/ready"))
    assert 200 == (await rig.client.head("/ready")).status_code


async def test_probes_say_that_something_is_missing(opened: Open) -> None:
    """
    An initial source that can't be had: neither ready nor healthy.
    """
    entry = DataSourceEntryWithPollingInterval(url="nowhere://x", dst_path="/x", topics=("policy_data",))
    rig = await opened(entries=(entry,))
    await rig.until(lambda: rig.agent.pipeline.log.data.failed > 0)

    assert [UNAVAILABLE] * 4 == [answer(await rig.client.get(path)) for path in (*PROBES, "/ready")]


async def test_healthy_turns_with_the_last_update(opened: Open) -> None:
    """
    A failed update makes it 503 while `/ready` stays, the next good one 200 again.
    """
    rig = await opened()
    await rig.source.publish({"id": "1", "entries": [{"url": "nowhere://x", "dst_path": "/x"}]})
    await rig.until(lambda: rig.agent.pipeline.log.data.failed == 1)
    assert UNAVAILABLE == answer(await rig.client.get("/healthy"))
    assert 200 == (await rig.client.get("/ready")).status_code

    await rig.source.publish({"id": "2", "entries": [{"url": "", "dst_path": "/x", "data": 1}]})
    await rig.until(lambda: rig.agent.pipeline.log.healthy)
    assert HEALTHY == answer(await rig.client.get("/healthy"))


async def test_probes_notice_an_engine_that_is_gone(opened: Open) -> None:
    """
    Idle or not: neither ready nor healthy until it is back.
    """
    rig = await opened(OPAL_POLICY_STORE_LIVENESS_PROBE_INTERVAL_SECONDS="0.05", OPAL_COMMIT_TIMEOUT="0.2")
    await rig.until(lambda: rig.agent.context.log().healthy)
    rig.engine.go_down()
    await rig.until(lambda: not rig.agent.context.log().healthy)
    assert [UNAVAILABLE] * 2 == [answer(await rig.client.get(path)) for path in ("/healthy", "/ready")]

    rig.engine.come_up()
    await rig.until(lambda: rig.agent.context.log().healthy)
    assert HEALTHY == answer(await rig.client.get("/healthy"))


async def test_offline_mode_is_well_as_long_as_it_is_ready(opened: Open, tmp_path: Path) -> None:
    """
    Ready and not healthy is 200 with `online` false.
    """
    rig = await opened(OPAL_OFFLINE_MODE_ENABLED="true", OPAL_STORE_BACKUP_PATH=str(tmp_path / "backup"))
    await rig.until(lambda: rig.agent.pipeline.log.ready)
    await rig.source.publish({"id": "1", "entries": [{"url": "nowhere://x", "dst_path": "/x"}]})
    await rig.until(lambda: not rig.agent.pipeline.log.healthy)

    assert (200, {"status": "ok", "online": False}) == answer(await rig.client.get("/healthy"))


async def test_triggers_load_again(opened: Open) -> None:
    """
    The base data is written once more; what is switched off says so.
    """
    entry = DataSourceEntryWithPollingInterval(url="", dst_path="/x", topics=("policy_data",), data=Raw(b"1"))
    rig = await opened(entries=(entry,))
    await rig.until(lambda: rig.agent.pipeline.log.data.successful == 1)

    assert (200, {"status": "ok"}) == answer(await rig.client.post("/data-updater/trigger"))
    await rig.until(lambda: rig.agent.pipeline.log.data.successful == 2)
    status, body = answer(await rig.client.post("/policy-updater/trigger"))
    assert (503, True) == (status, "OPAL_POLICY_UPDATER_ENABLED" in body["detail"])
    assert 405 == (await rig.client.get("/data-updater/trigger")).status_code


async def test_trigger_of_data_that_is_switched_off(opened: Open) -> None:
    """
    503, as the peer.
    """
    rig = await opened(OPAL_DATA_UPDATER_ENABLED="false")

    status, body = answer(await rig.client.post("/data-updater/trigger"))

    assert (503, True) == (status, "OPAL_DATA_UPDATER_ENABLED" in body["detail"])


async def test_callbacks_are_registered_shown_and_removed(opened: Open) -> None:
    """
    Under the key that was given, or one that is made.
    """
    client = (await opened()).client
    made = (await client.post("/callbacks", json={"url": "http://a.example"})).json()
    named = (await client.post("/callbacks", json={"url": "http://b.example", "key": "b"})).json()

    assert ["b", named] == [named["key"], (await client.get("/callbacks/b")).json()]
    assert [made["key"], "b"] == sorted((one["key"] for one in (await client.get("/callbacks")).json()), key=len)[::-1]
    assert 204 == (await client.delete("/callbacks/b")).status_code
    gone = (404, {"detail": "no callback found with this key"})
    assert [gone, gone] == [answer(await client.delete("/callbacks/b")), answer(await client.get("/callbacks/b"))]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{}", ["body"]),
        (b'{"url": 7}', ["body", "url"]),
        (b"nonsense", ["body"]),
        (b"", ["body"]),
        (b'{"url": "http://a", "config": {"method": "dance"}}', ["body", "config", "method"]),
        (b'{"url": "http://a", "config": {"headers": 7}}', ["body", "config", "headers"]),
        (b'{"url": "http://a", "config": {"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", ["body"]),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_callback_that_is_none_is_refused(opened: Open, body: bytes, where: list[str]) -> None:
    """
    422 in the peer's shape, which says where.
    """
    status, said = answer(await (await opened()).client.post("/callbacks", content=body))

    assert (422, where) == (status, said["detail"][0]["loc"])
    assert {"loc", "msg", "type"} == set(said["detail"][0])


async def test_body_that_is_too_large_is_refused(opened: Open) -> None:
    """
    413, and nothing is registered.
    """
    client = (await opened()).client

    assert 413 == (await client.post("/callbacks", content=b" " * (1024 * 1024 + 1))).status_code
    assert [] == (await client.get("/callbacks")).json()


async def test_connectivity_is_switched_in_offline_mode(opened: Open, tmp_path: Path) -> None:
    """
    Each switch says whether it changed anything.
    """
    client = (await opened(OPAL_OFFLINE_MODE_ENABLED="true", OPAL_STORE_BACKUP_PATH=str(tmp_path / "backup"))).client
    path = "/opal-server/connectivity"

    async def switched(what: str) -> str:
        return (await client.post(f"{path}/{what}")).json()["status"]

    assert ["disabled", "already_disabled"] == [await switched("disable"), await switched("disable")]
    now = {"opal_server_connectivity_disabled": True, "offline_mode_enabled": True}
    assert (200, now) == answer(await client.get(path))
    assert 503 == (await client.post("/data-updater/trigger")).status_code
    assert ["enabled", "already_enabled"] == [await switched("enable"), await switched("enable")]


@pytest.mark.parametrize("what", ["enable", "disable"])
async def test_connectivity_stays_without_offline_mode(opened: Open, what: str) -> None:
    """
    400, as the peer.
    """
    client = (await opened()).client
    path = "/opal-server/connectivity"

    status, body = answer(await client.post(f"{path}/{what}"))

    assert (400, f"Cannot {what} OPAL server connectivity: offline mode is not enabled") == (status, body["detail"])
    now = {"opal_server_connectivity_disabled": False, "offline_mode_enabled": False}
    assert (200, now) == answer(await client.get(path))


async def test_routes_of_plugins_hang_where_they_say(opened: Open) -> None:
    """
    The path itself and what is below it; one that raises costs nobody else anything.
    """
    client = (await opened()).client

    with capture_logs() as events:
        assert 500 == (await client.get("/broken")).status_code
    assert ["agent_api.failed"] == [event["event"] for event in events if event["log_level"] == "error"]
    assert ["/mine", "/mine/a/b"] == [(await client.get(path)).text for path in ("/mine", "/mine/a/b")]


async def test_unknown_path_is_not_found(opened: Open) -> None:
    """
    In the peer's shape.
    """
    assert (404, {"detail": "Not Found"}) == answer(await (await opened()).client.get("/no/such/path"))


async def test_api_describes_itself(opened: Open) -> None:
    """
    For programs, and for people without anything from elsewhere.
    """
    client = (await opened()).client
    document = (await client.get("/openapi.json")).json()
    page = await client.get("/docs")

    assert document["openapi"].startswith("3.")
    assert {"/callbacks", "/callbacks/{key}", "/data-updater/trigger", "/policy-updater/trigger", "/ready"} <= set(
        document["paths"]
    )
    assert all(f" {path}</code>" in page.text for path in document["paths"])
    assert "http" not in page.text
    assert "text/html" in page.headers["content-type"]


async def test_metrics_are_text_for_prometheus(opened: Open) -> None:
    """
    Counters, gauges and durations of the agent, and its health; nothing unless it is asked for.
    """
    client = (await opened(OPAL_ENABLE_METRICS="true")).client
    text = (await client.get("/metrics")).text

    assert {"cabochon_source_connected", "cabochon_updates_under_way", "cabochon_build_info"} <= {
        line.split("{")[0].split(" ")[0] for line in text.splitlines()
    }
    openmetrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert openmetrics.text.endswith("# EOF\n")
    assert 404 == (await (await opened()).client.get("/metrics")).status_code


async def test_web_page_of_another_origin_may_ask(opened: Open) -> None:
    """
    Only from the origins that are allowed.
    """
    client = (await opened(OPAL_ALLOWED_ORIGINS="http://good.example")).client

    async def allowed(origin: str) -> str | None:
        return (await client.get("/ready", headers={"origin": origin})).headers.get("access-control-allow-origin")

    assert ["http://good.example", None] == [await allowed("http://good.example"), await allowed("http://bad.example")]


async def test_taken_port_stops_the_start(opened: Open) -> None:
    """
    With one line that names the variable.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"OPAL_CLIENT_API_SERVER_PORT={port}"):
            await opened(OPAL_CLIENT_API_SERVER_PORT=str(port))
