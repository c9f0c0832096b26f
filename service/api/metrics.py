"""What Prometheus reads."""

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service import __version__
from service.detached_stream import dropped_writes
from service.flows.service_stats import ServiceStats
from service.flows.thread_pools import PoolLoad, PoolName

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

GAUGES: dict[str, tuple[str, Callable[[ServiceStats], float | None]]] = {
    "camreel_epochs": ("Epochs that are kept.", lambda v: v.epochs),
    "camreel_queue_length": ("Runs that wait for a worker.", lambda v: v.runs["queued"]),
    "camreel_quarantined_checkpoints": ("Checkpoints found bad.", lambda v: v.quarantined),
    "camreel_blob_bytes": ("Bytes of all checkpoints.", lambda v: v.blob_bytes),
    "camreel_store_bytes": ("Bytes that count against the quota.", lambda v: v.used_bytes),
    "camreel_disk_free_bytes": ("Free bytes of the fullest disk.", lambda v: v.free_bytes),
    "camreel_oldest_heartbeat_age_seconds": (
        "Age of the oldest heartbeat of a running run; 0 where none runs.",
        lambda v: v.oldest_heartbeat_seconds,
    ),
}
"""A new gauge is a line here."""


class CountingCache(Protocol):
    """A cache that counts."""

    hits: int
    misses: int


class Metrics(Collector):
    """Metrics of one application: a registry of its own, so that tests can have several."""

    def __init__(
        self,
        vitals: Callable[[], ServiceStats],
        caches: Mapping[str, CountingCache],
        stream_count: Callable[[], int],
        pools: Callable[[], Mapping[PoolName, PoolLoad]],
    ) -> None:
        self._vitals = vitals
        self._caches = caches
        self._stream_count = stream_count
        self._pools = pools
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.response_duration_seconds = Histogram(
            "camreel_response_duration_seconds",
            "Time to make a response, by kind of work and method; 304 responses are not counted.",
            ["kind", "method"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def describe(self) -> list[Metric]:
        """Nothing is asked of the database before it is scraped."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read when Prometheus asks."""
        now = self._vitals()
        family = GaugeMetricFamily("camreel_runs", "Runs by status.", labels=["status"])
        for status, count in now.runs.items():
            family.add_metric([status], count)
        yield family
        yield from self._work(now)
        for name, (words, value) in GAUGES.items():
            found = value(now)
            if found is not None:
                yield GaugeMetricFamily(name, words, value=found)
        yield GaugeMetricFamily(
            "camreel_event_streams", "Event streams open now.", value=self._stream_count()
        )
        requests = CounterMetricFamily(
            "camreel_cache_requests",
            "Cache lookups, by cache and result (hit or miss).",
            labels=["cache", "result"],
        )
        for cache, counted in self._caches.items():
            requests.add_metric([cache, "hit"], counted.hits)
            requests.add_metric([cache, "miss"], counted.misses)
        yield requests
        yield CounterMetricFamily(
            "camreel_log_lines_dropped",
            "Lines for standard error that nobody read.",
            value=dropped_writes(),
        )
        build = GaugeMetricFamily("camreel_build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build

    def _work(self, now: ServiceStats) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "camreel_lane_running", "Computations that run, by lane.", labels=["lane"]
        )
        waiting = GaugeMetricFamily(
            "camreel_lane_waiting", "Computations that wait for a thread.", labels=["lane"]
        )
        for lane, load in self._pools().items():
            running.add_metric([lane], load.running)
            waiting.add_metric([lane], load.waiting)
        jobs = GaugeMetricFamily("camreel_jobs", "Jobs by status.", labels=["status"])
        for status, count in now.jobs.items():
            jobs.add_metric([status], count)
        yield from (running, waiting, jobs)

    def exposition(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
