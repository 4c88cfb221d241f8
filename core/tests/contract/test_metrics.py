"""What is counted, and how."""

from __future__ import annotations

from cabochon.contract.metrics import DURATION_BOUNDS_S, Metrics


def test_counters_and_gauges_are_told_apart() -> None:
    """
    A counter grows, a gauge is asked when it is read; the snapshot has both, sorted.
    """
    metrics, depth = Metrics(), [1]
    metrics.gauge("queue.waiting", lambda: depth[0])
    metrics.count("reports.dropped")
    metrics.count("reports.dropped", by=2)
    depth[0] = 7

    assert {"reports.dropped": 3} == metrics.counters()
    assert {"queue.waiting": 7} == metrics.gauges()
    assert [("queue.waiting", 7), ("reports.dropped", 3)] == list(metrics.snapshot().items())


def test_durations_are_counted_in_classes() -> None:
    """
    A bound belongs to its class; each class counts those below it too, the last one all.
    """
    metrics = Metrics()
    for seconds in (0.0, 0.001, 0.002, 0.05, 30.0, 31.0):
        metrics.observe("commits.duration", seconds)
    durations = metrics.durations()["commits.duration"]

    upto = dict(zip((*DURATION_BOUNDS_S, None), durations.at_most, strict=True))
    assert (2, 3, 3, 4, 5, 6) == (upto[0.001], upto[0.0025], upto[0.025], upto[0.05], upto[30.0], upto[None])
    assert abs(durations.total_s - 61.053) < 1e-9
    assert list(durations.at_most) == sorted(durations.at_most)
