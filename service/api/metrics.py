"""Metrics in Prometheus' text format."""

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

DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

GAUGES: dict[str, tuple[str, Callable[[ServiceStats], float | None]]] = {
    "camreel_epochs": ("Recorded epochs.", lambda stats: stats.epochs),
    "camreel_queue_length": ("Runs waiting for a worker.", lambda stats: stats.runs["queued"]),
    "camreel_quarantined_checkpoints": (
        "Quarantined checkpoints.",
        lambda stats: stats.quarantined_epochs,
    ),
    "camreel_blob_bytes": ("Bytes of all checkpoints.", lambda stats: stats.blob_bytes),
    "camreel_store_bytes": ("Bytes counted against the quota.", lambda stats: stats.used_bytes),
    "camreel_disk_free_bytes": ("Free bytes of the fullest disk.", lambda stats: stats.free_bytes),
    "camreel_oldest_heartbeat_age_seconds": (
        "Age of the oldest heartbeat of a running run; 0 if no run is running.",
        lambda stats: stats.oldest_heartbeat_seconds,
    ),
}
"""Gauges by name: help text, and the value (None: not reported)."""


class CountingCache(Protocol):
    """A cache that counts its hits and misses."""

    hits: int
    misses: int


class Metrics(Collector):
    """Metrics of one application, in a registry of its own."""

    def __init__(
        self,
        read_stats: Callable[[], ServiceStats],
        caches: Mapping[str, CountingCache],
        stream_count: Callable[[], int],
        pools: Callable[[], Mapping[PoolName, PoolLoad]],
    ) -> None:
        self._read_stats = read_stats
        self._caches = caches
        self._stream_count = stream_count
        self._pools = pools
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.response_duration_seconds = Histogram(
            "camreel_response_duration_seconds",
            "Time to make a response, by kind of work and method; 304 responses are not counted.",
            ["kind", "method"],
            buckets=DURATION_BUCKETS_SECONDS,
            registry=self._registry,
        )

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration does not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The current values."""
        stats = self._read_stats()
        family = GaugeMetricFamily("camreel_runs", "Runs by status.", labels=["status"])
        for status, count in stats.runs.items():
            family.add_metric([status], count)
        yield family
        yield from self._collect_work(stats)
        for name, (help_text, read) in GAUGES.items():
            value = read(stats)
            if value is not None:
                yield GaugeMetricFamily(name, help_text, value=value)
        yield GaugeMetricFamily(
            "camreel_event_streams", "Open event streams.", value=self._stream_count()
        )
        requests = CounterMetricFamily(
            "camreel_cache_requests",
            "Cache lookups, by cache and result (hit or miss).",
            labels=["cache", "result"],
        )
        for name, cache in self._caches.items():
            requests.add_metric([name, "hit"], cache.hits)
            requests.add_metric([name, "miss"], cache.misses)
        yield requests
        yield CounterMetricFamily(
            "camreel_log_lines_dropped",
            "Log lines dropped because standard error was blocked.",
            value=dropped_writes(),
        )
        build = GaugeMetricFamily("camreel_build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build

    def _collect_work(self, stats: ServiceStats) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "camreel_pool_running", "Running computations by thread pool.", labels=["pool"]
        )
        waiting = GaugeMetricFamily(
            "camreel_pool_waiting", "Computations waiting for a thread.", labels=["pool"]
        )
        for pool, load in self._pools().items():
            running.add_metric([pool], load.running)
            waiting.add_metric([pool], load.waiting)
        jobs = GaugeMetricFamily("camreel_jobs", "Jobs by status.", labels=["status"])
        for status, count in stats.jobs.items():
            jobs.add_metric([status], count)
        yield from (running, waiting, jobs)

    def exposition(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
