"""Metrics in Prometheus' text format."""

import platform
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service import __version__
from service.api.sharing import Sharing
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
    """Metrics of the service: from the database, and summed over its processes."""

    def __init__(
        self,
        read_stats: Callable[[], ServiceStats],
        caches: Mapping[str, CountingCache],
        stream_count: Callable[[], int],
        pools: Callable[[], Mapping[PoolName, PoolLoad]],
        sharing: Sharing,
    ) -> None:
        self._read_stats = read_stats
        self._caches = caches
        self._stream_count = stream_count
        self._pools = pools
        self._sharing = sharing
        self._registry = CollectorRegistry()
        self._registry.register(self)
        own_registry = CollectorRegistry()
        self.response_duration_seconds = Histogram(
            "camreel_response_duration_seconds",
            "Time to make a response, by kind of work and method; 304 responses are not counted.",
            ["kind", "method"],
            buckets=DURATION_BUCKETS_SECONDS,
            registry=own_registry,
        )
        self._own_registry = own_registry

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration does not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The current values, of all processes."""
        yield from self._collect_stored(self._read_stats())
        yield from self._sharing.merge_metrics(self._collect_own())
        build = GaugeMetricFamily("camreel_build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build

    @property
    def is_shared(self) -> bool:
        """Whether the service has other processes."""
        return self._sharing.is_shared

    def report(self) -> None:
        """Tell the other processes the current values of this one."""
        self._sharing.report_metrics(self._collect_own())

    def _collect_stored(self, stats: ServiceStats) -> Iterator[Metric]:
        """From the database, so the same in every process."""
        for name, help_text, counts in (
            ("camreel_runs", "Runs by status.", stats.runs),
            ("camreel_jobs", "Jobs by status.", stats.jobs),
        ):
            family = GaugeMetricFamily(name, help_text, labels=["status"])
            for status, count in counts.items():
                family.add_metric([status], count)
            yield family
        for name, (help_text, read) in GAUGES.items():
            value = read(stats)
            if value is not None:
                yield GaugeMetricFamily(name, help_text, value=value)

    def _collect_own(self) -> list[Metric]:
        """Of this process alone."""
        return list(chain(self._collect_pools(), self._collect_caches(), self._collect_streams()))

    def _collect_pools(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "camreel_pool_running", "Running computations by thread pool.", labels=["pool"]
        )
        waiting = GaugeMetricFamily(
            "camreel_pool_waiting", "Computations waiting for a thread.", labels=["pool"]
        )
        for pool, load in self._pools().items():
            running.add_metric([pool], load.running)
            waiting.add_metric([pool], load.waiting)
        yield from (running, waiting, *self._own_registry.collect())

    def _collect_caches(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "camreel_cache_requests",
            "Cache lookups, by cache and result (hit or miss).",
            labels=["cache", "result"],
        )
        for name, cache in self._caches.items():
            requests.add_metric([name, "hit"], cache.hits)
            requests.add_metric([name, "miss"], cache.misses)
        yield requests

    def _collect_streams(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "camreel_event_streams", "Open event streams.", value=self._stream_count()
        )
        yield CounterMetricFamily(
            "camreel_log_lines_dropped",
            "Log lines dropped because standard error was blocked.",
            value=dropped_writes(),
        )

    def exposition(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
