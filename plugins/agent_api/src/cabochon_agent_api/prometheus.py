"""The agent's metrics in the text formats of Prometheus and OpenMetrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

import cabochon
from cabochon import AgentContext
from cabochon.metrics import DURATION_BOUNDS_S, Durations

__all__ = ["exposition"]


def exposition(agent: AgentContext) -> Callable[[str], tuple[bytes, str]]:
    """Make a function that takes an Accept header and gives the metrics as of now, and their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_AgentMetrics(agent))

    def expose(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return expose


class _AgentMetrics(Collector):
    def __init__(self, agent: AgentContext) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        """Yield health, then every counter, gauge and duration, sorted by name."""
        metrics, now = self._agent.metrics, self._agent.log()
        info = GaugeMetricFamily("cabochon_build_info", "The version that runs.", labels=["version"])
        info.add_metric([cabochon.__version__], 1)
        yield info
        for name in ("healthy", "in_sync", "ready", "source_connected"):
            yield GaugeMetricFamily(f"cabochon_{name}", f"Whether the agent is {name}: 0 or 1.", getattr(now, name))
        for name, count in sorted(metrics.counters().items()):
            yield CounterMetricFamily(_named(name), f"Counter {name}.", count)
        for name, value in sorted(metrics.gauges().items()):
            yield GaugeMetricFamily(_named(name), f"Gauge {name}.", value)
        for name, durations in sorted(metrics.durations().items()):
            yield _histogram(name, durations)


def _named(name: str) -> str:
    return "cabochon_" + name.replace(".", "_")


def _histogram(name: str, durations: Durations) -> HistogramMetricFamily:
    bounds = [*(str(bound) for bound in DURATION_BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, map(float, durations.at_most), strict=True))
    return HistogramMetricFamily(
        _named(name) + "_seconds", f"Durations of {name}, in seconds.", buckets=buckets, sum_value=durations.total_s
    )
