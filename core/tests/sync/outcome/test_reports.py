"""Reports: made at the end, delivered beside the sync, tried again, bounded. Under a virtual clock."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from cabochon.backoff import Backoff
from cabochon.contract.callback_reporter import Callback, CallbackReporter
from cabochon.contract.metrics import Metrics
from cabochon.documents.json_values import peer_hash
from cabochon.errors import ReportError
from cabochon.schemas import DataSourceEntry, UpdateCallback
from cabochon.sync.outcome.callback_register import CallbackRegister
from cabochon.sync.outcome.reports import EntryResult, PendingReport, Reporting, ReportLimits
from cabochon.sync.outcome.traces import Traces

SPEC = DataSourceEntry(url="", dst_path="/users/bob")
POST = {"method": "post", "headers": {"content-type": "application/json"}}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Trio with a clock that jumps to the next thing to happen."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class _Reporter(CallbackReporter):
    """Notes what it delivers; `behave` may fail or hang, by try."""

    def __init__(
        self, behave: Callable[[Callback, int], Exception | str | None] = lambda _callback, _try: None
    ) -> None:
        self.behave = behave
        self.tries: dict[str, list[float]] = {}
        self.delivered: list[tuple[str, dict[str, Any]]] = []

    async def report(self, report: bytes, callback: Callback) -> None:
        tries = self.tries.setdefault(callback.url, [])
        tries.append(anyio.current_time())
        outcome = self.behave(callback, len(tries))
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "hang":
            await anyio.sleep_forever()
        self.delivered.append((callback.url, json.loads(report)))


@asynccontextmanager
async def _outbox(
    reporter: CallbackReporter, *receivers: str, enabled: bool = True, **limits: Any
) -> AsyncGenerator[tuple[Reporting, Metrics]]:
    metrics = Metrics()
    reporting = Reporting(
        CallbackRegister(UpdateCallback(callbacks=receivers), POST),
        {"http": reporter},
        enabled=enabled,
        limits=ReportLimits(backoff=Backoff(first_s=1, longest_s=60, random=Random(1)), **limits),  # noqa: S311
        metrics=metrics,
        traces=Traces(metrics, anyio.current_time),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reporting.run)
        yield reporting, metrics
        tasks.cancel_scope.cancel()


async def _settled(reporting: Reporting, metrics: Metrics, *, ends: int) -> None:
    del reporting
    with anyio.fail_after(10_000):
        while True:
            now = metrics.snapshot()
            if now.get("reports.delivered", 0) + now.get("reports.dropped", 0) >= ends:
                return
            await anyio.sleep(1)


def _report(update_id: str, raw: bytes = b'{"role": "admin"}', **more: Any) -> PendingReport:
    return PendingReport(update_id=update_id, results=[EntryResult(SPEC, fetched=True, saved=True, raw=raw)], **more)


async def test_report_has_the_peers_shape() -> None:
    """
    Update id, entries without their data, fetched, saved, and the hash over the data.
    """
    reporter = _Reporter()
    async with _outbox(reporter, "http://one") as (reporting, metrics):
        reporting.submit(_report("u1"))
        await _settled(reporting, metrics, ends=1)

    ((url, report),) = reporter.delivered
    entry = report["reports"][0].pop("entry")
    assert "http://one" == url
    assert {
        "update_id": "u1",
        "reports": [{"fetched": True, "saved": True, "hash": peer_hash(b'{"role": "admin"}')}],
        "policy_hash": None,
        "user_data": {},
    } == report
    assert ("/users/bob", ["policy_data"], "PUT") == (entry["dst_path"], entry["topics"], entry["save_method"])
    assert entry.get("data") is None


async def test_failed_delivery_is_tried_again_with_growing_pauses() -> None:
    """
    Until it succeeds, and then never again.
    """
    reporter = _Reporter(lambda _callback, tries: ReportError("503") if tries < 4 else None)
    async with _outbox(reporter, "http://one") as (reporting, metrics):
        reporting.submit(_report("u1"))
        await _settled(reporting, metrics, ends=1)

    at = reporter.tries["http://one"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert 1 == len(reporter.delivered)
    assert 3 == len(pauses)
    assert all(step / 2 <= pause <= step for pause, step in zip(pauses, [1, 2, 4], strict=True))


async def test_receivers_retry_after_is_honoured() -> None:
    """
    Not before the receiver wants, however short the backoff.
    """
    reporter = _Reporter(lambda _callback, tries: ReportError("429", retry_after_s=300) if tries == 1 else None)
    async with _outbox(reporter, "http://one") as (reporting, metrics):
        reporting.submit(_report("u1"))
        await _settled(reporting, metrics, ends=1)

    first, second = reporter.tries["http://one"]
    assert second - first >= 300


async def test_refused_delivery_is_dropped_counted_and_logged() -> None:
    """
    What can't succeed is not tried again.
    """
    reporter = _Reporter(lambda _callback, _try: ReportError("404 Not Found", again=False))
    with capture_logs() as events:
        async with _outbox(reporter, "http://one") as (reporting, metrics):
            reporting.submit(_report("u1"))
            await _settled(reporting, metrics, ends=1)
            assert 1 == metrics.snapshot()["reports.dropped"]

    assert [("u1", "404 Not Found")] == [(e["update_id"], e["why"]) for e in events if e["event"] == "report.dropped"]


@pytest.mark.parametrize("bad", ["hang", ValueError("broken")], ids=["hangs", "raises"])
async def test_bad_receiver_keeps_nobody_waiting(bad: Exception | str) -> None:
    """
    The other receiver gets every report at once.
    """
    reporter = _Reporter(lambda callback, _try: bad if callback.url == "http://bad" else None)
    async with _outbox(reporter, "http://bad", "http://good") as (reporting, _):
        for number in range(20):
            reporting.submit(_report(f"u{number}"))
        with anyio.fail_after(1):
            while len(reporter.delivered) < 20:  # noqa: ASYNC110 - the virtual clock jumps
                await anyio.sleep(0.01)

    assert [f"u{number}" for number in range(20)] == [report["update_id"] for _, report in reporter.delivered]


async def test_outbox_is_bounded() -> None:
    """
    The oldest reports give way, and are counted.
    """
    reporter = _Reporter(lambda _callback, _try: "hang")
    async with _outbox(reporter, "http://one", outbox_size=10, timeout_s=1e9) as (reporting, metrics):
        for number in range(50):
            reporting.submit(_report(f"u{number}"))
            await anyio.sleep(0.1)
        now = metrics.snapshot()

    assert now["reports.waiting"] <= 10
    assert 40 == now["reports.dropped"]


async def test_one_time_receivers_get_it_beside_the_registered_ones() -> None:
    """
    In every notation, and nobody twice.
    """
    reporter = _Reporter()
    wanted = UpdateCallback(
        callbacks=("http://once", ("http://listed",), ("http://pair", {"headers": {"x": "1"}}), "http://one")
    )
    async with _outbox(reporter, "http://one") as (reporting, metrics):
        reporting.submit(_report("u1", receivers=reporting.receivers(wanted)))
        await _settled(reporting, metrics, ends=4)

    assert ["http://listed", "http://once", "http://one", "http://pair"] == sorted(url for url, _ in reporter.delivered)


async def test_nothing_is_reported_unless_switched_on() -> None:
    """
    Not even to one-time receivers.
    """
    reporter = _Reporter()
    async with _outbox(reporter, "http://one", enabled=False) as (reporting, _):
        reporting.submit(_report("u1", receivers=[Callback("http://once", POST)]))
        await anyio.sleep(100)

    assert [] == reporter.delivered


async def test_drain_tries_each_report_once_more_and_ends_in_time() -> None:
    """
    Without pauses; what a hung receiver does not take is dropped, counted and logged.
    """
    behave: Mapping[str, Exception | str | None] = {
        "http://down": ReportError("503"),
        "http://hung": "hang",
        "http://up": None,
    }
    reporter = _Reporter(lambda callback, _try: behave[callback.url])
    with capture_logs() as events:
        async with _outbox(reporter, *behave) as (reporting, metrics):
            reporting.submit(_report("u1"))
            await anyio.sleep(0.1)
            began = anyio.current_time()
            await reporting.drain(within_s=3)
            assert anyio.current_time() - began <= 3
            assert 2 == metrics.snapshot()["reports.dropped"]

    assert 2 <= len(reporter.tries["http://down"])
    assert [1] == [event["count"] for event in events if event["event"] == "reports.dropped"]


async def test_secrets_of_a_callback_are_not_logged() -> None:
    """
    Neither its headers nor what its URL carries.
    """
    reporter = _Reporter(lambda _callback, _try: ReportError("503"))
    pair = ("http://user:hunter2@one/?token=s3cret", {"headers": {"authorization": "Bearer abc"}})
    with capture_logs() as events:
        async with _outbox(reporter, attempts=3) as (reporting, metrics):
            reporting.submit(_report("u1", receivers=reporting.receivers(UpdateCallback(callbacks=(pair,)))))
            await _settled(reporting, metrics, ends=1)

    assert events
    for secret in ("hunter2", "s3cret", "abc"):
        assert secret not in json.dumps(events)
