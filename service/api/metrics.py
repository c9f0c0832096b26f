"""What Prometheus reads."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics(Collector):
    """Metrics of one application: a registry of its own, so that tests can have several."""

    def __init__(self, count_runs: Callable[[], dict[str, int]]) -> None:
        self._count_runs = count_runs
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.picture_seconds = Histogram(
            "camreel_picture_seconds",
            "Time to answer with a picture, by kind and method; 304 answers are not among them.",
            ["kind", "method"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Runs by status, read when Prometheus asks."""
        family = GaugeMetricFamily("camreel_runs", "Runs by status.", labels=["status"])
        for status, count in self._count_runs().items():
            family.add_metric([status], count)
        yield family

    def exposition(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
