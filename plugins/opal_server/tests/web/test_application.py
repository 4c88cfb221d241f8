"""What every server shows of itself: health, its API, its metrics."""

from __future__ import annotations

from pathlib import Path

from ..rig import Rig, running  # noqa: TID252 - the rig of these tests


async def test_server_describes_every_route_that_it_has(rig: Rig) -> None:
    for path in ("/", "/healthcheck"):
        assert {"status": "ok"} == (await rig.http.get(path)).json()
    described = (await rig.http.get("/openapi.json")).json()
    for path, operations in described["paths"].items():
        for method in operations:
            answer = await rig.http.request(method, path.replace("{id}", "1"), json={})
            assert (404, {"detail": "Not Found"}) != (answer.status_code, answer.json()), path
    assert {"/data/config", "/policy", "/token", "/webhook", "/agents"} <= described["paths"].keys()
    page = (await rig.http.get("/docs")).text
    assert all(f" {path}</code>" in page for path in described["paths"])


async def test_metrics_are_there_if_asked_for(rig: Rig, tmp_path: Path) -> None:
    assert 404 == (await rig.http.get("/metrics")).status_code
    async with running(tmp_path / "other", {"OPAL_ENABLE_METRICS": "true"}) as other:
        socket = await other.subscriber("policy_data")
        await other.publish({"dst_path": "/x", "data": 1})
        await socket.noted(1)
        lines = (await other.http.get("/metrics")).text.splitlines()
        assert {
            "cabochon_updates_published_total 1.0",
            "cabochon_messages_sent_total 1.0",
            "cabochon_subscribers 1.0",
        } <= {*lines}
