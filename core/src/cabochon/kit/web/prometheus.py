"""Metrics in the text formats of Prometheus and OpenMetrics, for plugins with an HTTP face.

It needs `prometheus_client`, which comes with `cabochon[web]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cabochon.contract.metrics import DURATION_BOUNDS_S, Durations, Metrics
from cabochon.kit.extras import needs_extra

with needs_extra("web"):
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector, CollectorRegistry

__all__ = ["exposition"]


def exposition(
    metrics: Metrics, version: str, states: Callable[[], Mapping[str, bool]] = dict
) -> Callable[[str], tuple[bytes, str]]:
    """Make a function that takes an Accept header and gives the metrics as of now, and their content type.

    Args:
        metrics: what is shown, each name with `cabochon_` before it and `_` for each dot.
        version: the label of `cabochon_build_info`.
        states: gives what is true or false at the moment, by name.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics, version, states))

    def expose(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return expose


class _Collector(Collector):
    def __init__(self, metrics: Metrics, version: str, states: Callable[[], Mapping[str, bool]]) -> None:
        self._metrics = metrics
        self._version = version
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """Yield states, then every counter, gauge and duration, sorted by name."""
        info = GaugeMetricFamily("cabochon_build_info", "The version that runs.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        for name, state in sorted(self._states().items()):
            yield GaugeMetricFamily(f"cabochon_{name}", f"Whether the agent is {name}: 0 or 1.", state)
        for name, count in sorted(self._metrics.counters().items()):
            yield CounterMetricFamily(_named(name), f"Counter {name}.", count)
        for name, value in sorted(self._metrics.gauges().items()):
            yield GaugeMetricFamily(_named(name), f"Gauge {name}.", value)
        for name, durations in sorted(self._metrics.durations().items()):
            yield _histogram(name, durations)


def _named(name: str) -> str:
    return "cabochon_" + name.replace(".", "_")


def _histogram(name: str, durations: Durations) -> HistogramMetricFamily:
    bounds = [*(str(bound) for bound in DURATION_BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, map(float, durations.at_most), strict=True))
    return HistogramMetricFamily(
        _named(name) + "_seconds", f"Durations of {name}, in seconds.", buckets=buckets, sum_value=durations.total_s
    )
