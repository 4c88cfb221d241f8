"""Publishing over HTTP, base data sources, reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..rig import Rig, running  # noqa: TID252 - the rig of these tests

MALFORMED = {
    "no JSON": b"{nope",
    "empty": b"",
    "array": b"[]",
    "no entries": b"{}",
    "entries are text": b'{"entries": "all"}',
    "entry is a number": b'{"entries": [7]}',
    "no url": b'{"entries": [{"dst_path": "/x"}]}',
    "topics": b'{"entries": [{"url": "", "topics": 7}]}',
    "save method": b'{"entries": [{"url": "", "save_method": "DELETE"}]}',
    "patch is an object": b'{"entries": [{"url": "", "save_method": "PATCH", "data": {"a": 1}}]}',
    "patch without path": b'{"entries": [{"url": "", "save_method": "PATCH", "data": [{"op": "add", "value": 1}]}]}',
    "callback's method": b'{"entries": [], "callback": {"callbacks": [["http://a", {"method": "dance"}]]}}',
    "callback's headers": b'{"entries": [], "callback": {"callbacks": ["http://b", ["http://a", {"headers": 7}]]}}',
    "path is too deep": b'{"entries": [{"url": "", "dst_path": "' + b"/a" * 129 + b'", "data": 1}]}',
    "patch is too deep": b'{"entries": [{"url": "", "save_method": "PATCH", "data": [{"op": "remove", "path": "'
    + b"/a" * 129
    + b'"}]}]}',
    "not UTF-8": b'{"entries": [{"url": "\xff"}]}',
    "nested deeply": b'{"entries": [{"url": "", "config": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001 + b"]}",
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_malformed_update_is_refused_with_the_field(rig: Rig, kind: str) -> None:
    answer = await rig.http.post("/data/config", content=MALFORMED[kind])
    assert 422 == answer.status_code
    (detail,) = answer.json()["detail"]
    assert detail["msg"]
    if kind.startswith("patch"):
        assert ["body", "entries", 0, "data"] == detail["loc"]
    if kind == "save method":
        assert ["body", "entries", 0, "save_method"] == detail["loc"]
    if kind == "path is too deep":
        assert ["body", "entries", 0, "dst_path"] == detail["loc"]
    if kind == "callback's headers":
        assert ["body", "callback", "callbacks", 1, 1] == detail["loc"]
    assert {"status": "ok"} == (await rig.publish({"dst_path": "/x", "data": 1})).json()


@pytest.mark.parametrize(
    "value",
    [
        '{"a": null, "b": [null]}',
        '[{"op": "add", "path": "/x", "more": 1}]',
        "1e400",
        "12345678901234567890123",
        '"\\u00e9"',
    ],
)
async def test_inline_data_arrives_byte_for_byte(rig: Rig, value: str) -> None:
    socket = await rig.subscriber("policy_data")
    body = f'{{"entries": [{{"url": "", "dst_path": "/x", "data": {value}}}]}}'
    assert 200 == (await rig.http.post("/data/config", content=body)).status_code
    text = await socket.connection.recv()
    assert f'"data":{value}' in text.replace('"data": ', '"data":') if isinstance(text, str) else False


async def test_null_is_left_out_for_the_peers_clients_refuse_it(rig: Rig) -> None:
    socket = await rig.subscriber("policy_data")
    patch = {"dst_path": "/x", "save_method": "PATCH", "url": "http://127.0.0.1:1/p", "data": None}
    assert 200 == (await rig.publish(patch)).status_code
    ((_, _, data),) = await socket.noted(1)
    assert "data" not in data["entries"][0]


async def test_patch_with_a_null_value_is_taken(rig: Rig) -> None:
    patch = [{"op": "add", "path": "/n", "value": None}]
    assert 200 == (await rig.publish({"dst_path": "/x", "save_method": "PATCH", "data": patch})).status_code


async def test_update_without_an_id_gets_one_and_the_answer_names_it(rig: Rig) -> None:
    socket = await rig.subscriber("policy_data")
    answer = await rig.publish({"dst_path": "/x", "data": 1})
    ((_, number, data),) = await socket.noted(1)
    assert (data["id"], str(number)) == (
        answer.headers["x-cabochon-update-id"],
        answer.headers["x-cabochon-update-number"],
    )


async def test_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, {"OPAL_LARGEST_UPDATE_BYTES": "2000"}) as rig:
        assert 413 == (await rig.publish({"dst_path": "/x", "data": "x" * 3_000})).status_code


async def test_report_may_have_the_data_of_the_update(tmp_path: Path) -> None:
    async with running(tmp_path, {"OPAL_LARGEST_UPDATE_BYTES": "1500000"}) as rig:
        for size, status in ((1_400_000, 200), (2_600_000, 413)):
            entry = {"entry": {"url": "", "data": "x" * size}, "fetched": True, "saved": True}
            answer = await rig.http.post("/data/callback_report", json={"update_id": "x", "reports": [entry]})
            assert status == answer.status_code


async def test_base_data_sources_are_those_configured(tmp_path: Path) -> None:
    entry = {"url": "http://127.0.0.1:1/x", "topics": ["t"], "dst_path": "/x", "periodic_update_interval": 5}
    sources = json.dumps({"config": {"entries": [entry]}})
    async with running(tmp_path, {"OPAL_DATA_CONFIG_SOURCES": sources}) as rig:
        (one,) = (await rig.http.get("/data/config")).json()["entries"]
        assert entry | {"save_method": "PUT", "config": None} == one


async def test_base_data_is_empty_and_its_own_by_default(rig: Rig) -> None:
    (one,) = (await rig.http.get("/data/config")).json()["entries"]
    assert (f"http://localhost:{rig.server.port}/policy-data", ["policy_data"]) == (one["url"], one["topics"])
    assert {} == (await rig.http.get("/policy-data")).json()


async def test_external_sources_are_redirected_to_with_the_callers_token(tmp_path: Path) -> None:
    sources = json.dumps({"external_source_url": "http://127.0.0.1:1/s?a=b&token=old"})
    async with running(tmp_path, {"OPAL_DATA_CONFIG_SOURCES": sources}) as rig:
        answer = await rig.http.get("/data/config", headers={"Authorization": "Bearer mine"})
        assert (307, "http://127.0.0.1:1/s?a=b&token=mine") == (answer.status_code, answer.headers["location"])


async def test_reports_are_taken_and_nonsense_is_not(rig: Rig) -> None:
    entry = {"entry": {"url": ""}, "fetched": True, "saved": False, "hash": None}
    report: Any = {"update_id": "x", "reports": [entry]}
    assert (200, {}) == (
        (answer := await rig.http.post("/data/callback_report", json=report)).status_code,
        answer.json(),
    )
    assert 422 == (await rig.http.post("/data/callback_report", json={"update_id": 1})).status_code


async def test_server_is_up_and_describes_itself(rig: Rig) -> None:
    for path in ("/", "/healthcheck"):
        assert {"status": "ok"} == (await rig.http.get(path)).json()
    document = (await rig.http.get("/openapi.json")).json()
    assert {"/data/config", "/statistics", "/healthcheck"} <= set(document["paths"])
    for path in ("/docs", "/redoc"):
        assert "publish" in (await rig.http.get(path)).text.lower()
    assert (404, 405) == ((await rig.http.get("/no")).status_code, (await rig.http.put("/data/config")).status_code)
