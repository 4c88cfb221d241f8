"""What a collector is told of updates, over HTTP."""

from __future__ import annotations

import socket
import time
import uuid
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from cabochon import ConfigurationError

from .conftest import Collector, Start

REFUSED = {"url": "", "dst_path": "/b", "save_method": "PATCH", "data": [{"op": "remove", "path": "/nothing"}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def attributes(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, str(kind))
        found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


def within(inner: Span, outer: Span) -> bool:
    begins = outer.start_time_unix_nano <= inner.start_time_unix_nano
    return begins and inner.end_time_unix_nano <= outer.end_time_unix_nano


async def test_update_is_a_trace_of_its_fetch_and_its_commit(collector: Collector, start: Start) -> None:
    """Spans nest by parent and by time, and the trace's id is the update's."""
    update_id = uuid.uuid4()
    async with start(collector.url) as agent:
        url = agent.serve("memory:users", {"bob": 1})
        entries: list[dict[str, Any]] = [
            {"url": f"{url}?token=s3cret", "dst_path": "/users", "config": {"headers": {"traceparent": PARENT}}},
            {"url": "", "dst_path": "/a", "data": {"secret": "d0cument"}},
        ]
        agent.serve(f"{url}?token=s3cret", {"bob": 1})
        await agent.publish_update({"id": str(update_id), "entries": entries})
    root, fetch, commit = (collector.one(name) for name in ("data.update", "fetch", "commit"))
    assert {update_id.bytes} == {span.trace_id for span in (root, fetch, commit)}
    assert [root.span_id] * 2 == [fetch.parent_span_id, commit.parent_span_id]
    assert b"" == root.parent_span_id
    assert within(fetch, root)
    assert within(commit, root)
    assert fetch.end_time_unix_nano <= commit.end_time_unix_nano
    assert abs(root.end_time_unix_nano / 1e9 - time.time()) < 60
    (link,) = root.links
    assert PARENT.split("-")[1] == link.trace_id.hex()
    told = attributes(root)
    assert (str(update_id), "live", ["/users", "/a"]) == (
        told["cabochon.update.id"],
        told["cabochon.update.kind"],
        told["cabochon.update.dst_paths"],
    )
    assert told["cabochon.transaction.success"]
    assert "/users" == attributes(fetch)["cabochon.dst_path"]
    assert "MOCK" == attributes(commit)["cabochon.policy_store"]
    assert "cabochon-agent" == collector.resource["service.name"]
    everything = b"".join(span.SerializeToString() for span in collector.spans)
    assert b"s3cret" not in everything
    assert b"d0cument" not in everything


async def test_failures_are_marked_with_their_reason(collector: Collector, start: Start) -> None:
    async with start(collector.url) as agent:
        await agent.publish_update({"id": "refused", "entries": [REFUSED]})
        missing = {"url": "memory:nowhere", "dst_path": "/c"}
        await agent.publish_update({"id": "missing", "entries": [missing]})
    roots = {attributes(span)["cabochon.update.id"]: span for span in collector.named("data.update")}
    for name in ("refused", "missing"):
        assert Status.STATUS_CODE_ERROR == roots[name].status.code
        assert roots[name].status.message
        assert "entry.failed" in {event.name for event in roots[name].events}
    commits = {span.parent_span_id: span.status.code for span in collector.named("commit")}
    assert Status.STATUS_CODE_ERROR == commits[roots["refused"].span_id]
    fetches = {span.parent_span_id: span.status.code for span in collector.named("fetch")}
    assert Status.STATUS_CODE_ERROR == fetches[roots["missing"].span_id]


async def test_report_is_below_its_update(collector: Collector, start: Start) -> None:
    async with start(collector.url, OPAL_SHOULD_REPORT_ON_DATA_UPDATES="true") as agent:
        await agent.publish("/a", 1, update_id="u1")
        await agent.report_on("u1")
    root = collector.one("data.update")
    # Beside it there is the report of what the agent loaded first.
    (report,) = (span for span in collector.named("report") if span.parent_span_id == root.span_id)
    assert root.trace_id == report.trace_id
    assert 1 == attributes(report)["cabochon.attempts"]


async def test_update_is_one_trace_for_all_agents(collector: Collector, start: Start) -> None:
    for _ in range(2):
        async with start(collector.url) as agent:
            await agent.publish("/a", 1, update_id="no-uuid")
    first, second = collector.named("data.update")
    assert first.trace_id == second.trace_id
    assert first.span_id != second.span_id


async def test_nothing_is_sent_unless_it_is_asked_for(collector: Collector, start: Start) -> None:
    async with start(collector.url, OPAL_OPENTELEMETRY_ENABLED="false") as agent:
        await agent.publish("/a", 1)
    assert 0 == collector.requests


async def test_collector_that_is_gone_disturbs_neither_the_sync_nor_the_stop(start: Start) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        async with start(f"http://127.0.0.1:{nobody.getsockname()[1]}") as agent:
            for number in range(20):
                await agent.publish("/a", number)
            assert 19 == agent.document("/a")
            stopping = time.monotonic()
    assert time.monotonic() - stopping < 8


async def test_collector_that_hangs_does_not_hold_up_the_stop(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with start(f"http://127.0.0.1:{silent.getsockname()[1]}") as agent:
            await agent.publish("/a", 1)
            stopping = time.monotonic()
    assert time.monotonic() - stopping < 8


async def test_mistake_in_a_variable_of_its_own_stops_the_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigurationError, match="OTEL_"), flatten_subgroups=True):
        async with start("http://127.0.0.1:9"):
            pytest.fail("it started")
