"""What tracers hear of the sync, and that the sync does not depend on them."""

from __future__ import annotations

from typing import Any

import pytest

from cabochon import Callback, CallbackReporter, DocumentPath, ReportError
from cabochon.contract.metrics import Metrics
from cabochon.contract.tracing import PolicyTrace, ReportTrace, Tracer, UpdateTrace
from cabochon.schemas import DataSourceEntry
from cabochon.sync.outcome.traces import Traces
from cabochon.sync.rules.update import Entry, Update

from .conftest import Running, Start

SECRET = "s3cret"
PATCH = {"save_method": "PATCH", "data": [{"op": "remove", "path": "/nothing"}]}


class Recorder(Tracer):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.updates: dict[str, UpdateTrace] = {}
        self.policies: list[PolicyTrace] = []
        self.reports: list[ReportTrace] = []

    def update_ended(self, trace: UpdateTrace) -> None:
        self.updates[trace.update_id] = trace

    def policy_ended(self, trace: PolicyTrace) -> None:
        self.policies.append(trace)

    def report_ended(self, trace: ReportTrace) -> None:
        self.reports.append(trace)


class Broken(Tracer):
    """Raises whatever it hears."""

    def update_ended(self, trace: UpdateTrace) -> None:
        raise RuntimeError(trace.update_id)


class Refusing(CallbackReporter):
    """Takes no report."""

    async def report(self, report: bytes, callback: Callback) -> None:
        raise ReportError("no", again=False)


async def traced(running: Running, tracer: Recorder, update_id: str, *entries: dict[str, Any]) -> UpdateTrace:
    """Publish an update and return its trace."""
    await running.publish(update_id, *entries)
    await running.until(lambda: update_id in tracer.updates, f"the trace of {update_id}")
    return tracer.updates[update_id]


async def test_trace_says_what_became_of_each_entry_and_when(start: Start) -> None:
    """
    Arrival, commit and end are in order; saved and refused entries are told apart, with their error.
    """
    tracer = Recorder()
    async with start() as running:
        with running.pipeline.traces.sent_to(tracer):
            trace = await traced(
                running, tracer, "u1", {"dst_path": "/a", "data": {"v": 1}}, {"dst_path": "/b", **PATCH}
            )

    good, bad = trace.entries
    assert ("live", "/a", "PUT", "/b", "PATCH") == (
        trace.kind,
        good.dst_path,
        good.save_method,
        bad.dst_path,
        bad.save_method,
    )
    assert (True, True, "", 7) == (good.fetched, good.saved, good.error, good.size_bytes)
    assert (True, False) == (bad.fetched, bad.saved)
    assert bad.error
    assert bad.error in trace.error
    assert trace.commit is not None
    assert trace.period.began <= trace.commit.began <= trace.commit.ended <= trace.period.ended


async def test_trace_holds_no_secret(start: Start) -> None:
    """
    Neither documents nor headers nor the secrets of a URL; of the headers only the one that names a trace.
    """
    tracer = Recorder()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    config = {"headers": {"Authorization": SECRET, "Traceparent": parent}}
    entry = {"url": f"http://ann:{SECRET}@h/x?key={SECRET}", "config": config, "dst_path": "/a", "data": {"v": SECRET}}
    async with start() as running:
        with running.pipeline.traces.sent_to(tracer):
            trace = await traced(running, tracer, "u1", entry)

    assert SECRET not in repr(trace)
    assert ("http://h/x?key=***", parent) == (trace.entries[0].url, trace.entries[0].traceparent)


@pytest.mark.parametrize("headers", [None, "text", {"traceparent": 1}, {1: "x"}, {}])
def test_config_without_a_trace_context_is_no_error(headers: object) -> None:
    """
    A publisher may put anything there.
    """
    tracer = Recorder()
    traces = Traces(Metrics(), lambda: 0.0)
    spec = DataSourceEntry(url="http://h", config={"headers": headers})
    with traces.sent_to(tracer):
        traces.update_ended(Update("u1", [Entry(DocumentPath(), "PUT", spec)]), "", taken_at=0.0, group_size=1)

    assert tracer.updates["u1"].entries[0].traceparent is None


async def test_tracer_that_raises_is_taken_out_of_service(start: Start) -> None:
    """
    The update lands, others hear of it, and the culprit is named and counted once.
    """
    tracer, broken = Recorder(), Broken()
    async with start() as running:
        traces = running.pipeline.traces
        with traces.sent_to(broken), traces.sent_to(tracer):
            await traced(running, tracer, "u1", {"dst_path": "/a", "data": 1})
            await traced(running, tracer, "u2", {"dst_path": "/b", "data": 2})
        assert {"a": 1, "b": 2} == running.engine.documents
        assert 1 == running.pipeline.metrics.snapshot()["tracers.quarantined"]


async def test_policies_are_traced(start: Start) -> None:
    """
    Asking for the bundle comes before writing it.
    """
    tracer = Recorder()
    async with start(policies={"a.rego": "package a\n"}) as running:
        with running.pipeline.traces.sent_to(tracer):
            await running.pipeline.refresh_policies()
            await running.until(lambda: tracer.policies, "the trace of the bundle")

    trace = tracer.policies[0]
    assert ("", 1) == (trace.error, trace.policies)
    assert trace.commit is not None
    assert trace.fetch.began <= trace.fetch.ended <= trace.commit.began <= trace.commit.ended


async def test_report_that_is_given_up_is_traced(start: Start) -> None:
    """
    Whose it is, who did not take it, and why.
    """
    tracer = Recorder()
    callbacks = {"callbacks": [f"http://ann:{SECRET}@h/reports"]}
    reporting = start(
        reporters={"http": Refusing()}, should_report_on_data_updates=True, default_update_callbacks=callbacks
    )
    async with reporting as running:
        with running.pipeline.traces.sent_to(tracer):
            update = await traced(running, tracer, "u1", {"dst_path": "/a", "data": 1})
            await running.until(
                lambda: [one for one in tracer.reports if one.update_id == "u1"], "the trace of the report"
            )

    (report,) = (one for one in tracer.reports if one.update_id == "u1")
    assert ("http://h/reports", 1, "no") == (report.url, report.attempts, report.error)
    assert update.period.ended <= report.period.began <= report.period.ended


async def test_nothing_is_sent_outside_the_block(start: Start) -> None:
    """
    A tracer that has left hears nothing more, and nothing is recorded for nobody.
    """
    tracer = Recorder()
    async with start() as running:
        with running.pipeline.traces.sent_to(tracer):
            await traced(running, tracer, "u1", {"dst_path": "/a", "data": 1})
        assert not running.pipeline.traces.wanted
        await running.publish("u2", {"dst_path": "/a", "data": 2})
        await running.ended("u2")

    assert ["u1"] == [name for name in tracer.updates if name.startswith("u")]
