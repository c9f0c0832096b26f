"""What the processes of one service share: rate limits, and the counters of `/metrics`.

A service of several processes keeps both in their supervisor, which answers through a pipe to each.
This module imports neither torch nor FastAPI, as the supervisor has no use for them.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import limits
import structlog
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import Metric
from prometheus_client.samples import Sample

ANSWER_SECONDS = 1.0
"""How long a process waits for the supervisor's answer before it counts by itself."""

COUNTER_TYPES = frozenset({"counter", "histogram"})

log = structlog.get_logger()


class RateWindow(NamedTuple):
    """A rate limit's window after a request."""

    is_admitted: bool
    remaining: int
    reset_at: float  # when the oldest counted request leaves the window, in seconds since 1970


class Sharing(Protocol):
    """What a process of a service needs of the others."""

    is_shared: bool
    """Whether there are other processes."""

    def count_request(self, name: str, rate: str, key: str) -> RateWindow:
        """Count a request against the rate limit `name`, separately for each key."""

    def merge_metrics(self, metrics: Sequence[Metric]) -> Sequence[Metric]:
        """The sum of these metrics of this process and those of all other processes."""

    def report_metrics(self, metrics: Sequence[Metric]) -> None:
        """Tell the other processes the metrics of this one."""


class Unshared:
    """The only process of a service."""

    is_shared = False

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count_request(self, name: str, rate: str, key: str) -> RateWindow:
        """Count a request in this process's memory."""
        item = parse_rate(rate)
        is_admitted = self._limiter.hit(item, name, key)
        stats = self._limiter.get_window_stats(item, name, key)
        return RateWindow(is_admitted, stats.remaining, stats.reset_time)

    def merge_metrics(self, metrics: Sequence[Metric]) -> Sequence[Metric]:
        """The metrics as they are."""
        return metrics

    def report_metrics(self, metrics: Sequence[Metric]) -> None:
        """Do nothing: there is no other process."""


class Call(NamedTuple):
    """A call of a method of `SharedState`."""

    method: str
    arguments: tuple[Any, ...] = ()
    is_answered: bool = True


class Supervised:
    """A process's connection to the supervisor, which holds what is shared. Thread-safe.

    While the supervisor does not answer, because it is stopped, each process counts requests for
    itself and shows its own metrics. Nothing is sent to it then, which would block in the end.
    """

    is_shared = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._unshared = Unshared()
        self._has_answered = True  # the last call

    def count_request(self, name: str, rate: str, key: str) -> RateWindow:
        """Count a request in the supervisor."""
        window = self._call("count_request", name, rate, key)
        if window is None:
            return self._unshared.count_request(name, rate, key)
        assert isinstance(window, RateWindow)  # noqa: S101  for mypy
        return window

    def merge_metrics(self, metrics: Sequence[Metric]) -> Sequence[Metric]:
        """Report the metrics; returns the sum over all processes, as last reported."""
        total: Sequence[Metric] | None = self._call("merge_metrics", metrics)
        return metrics if total is None else total

    def report_metrics(self, metrics: Sequence[Metric]) -> None:
        """Report the metrics."""
        self._call("report_metrics", metrics)

    def report_ready(self) -> None:
        """Tell the supervisor that this process accepts connections."""
        self._notify("report_ready")

    def report_alive(self) -> None:
        """Tell the supervisor that the event loop runs."""
        self._notify("report_alive")

    def _notify(self, method: str) -> None:
        with self._lock, suppress(OSError, EOFError):
            if self._is_responsive():
                self._connection.send(Call(method, is_answered=False))

    def _call(self, method: str, *arguments: Any) -> Any:
        """The answer; None if there is none in time."""
        with self._lock, suppress(OSError, EOFError):
            if not self._is_responsive():
                return None
            self._has_answered = False
            self._connection.send(Call(method, arguments))
            if self._connection.poll(ANSWER_SECONDS):
                self._has_answered = True
                return self._connection.recv()
            log.warning("supervisor does not answer", call=method)
        return None

    def _is_responsive(self) -> bool:
        """Whether the last call has been answered; a late answer is dropped."""
        if not self._has_answered and self._connection.poll():
            self._connection.recv()
            self._has_answered = True
        return self._has_answered


@dataclass
class ProcessReports:
    """What a process has reported to its supervisor."""

    is_ready: bool = False
    reports: int = 0  # of its event loop
    metrics: Sequence[Metric] = ()


@dataclass
class SharedState:
    """What the supervisor holds for its processes. Thread-safe."""

    _unshared: Unshared = field(default_factory=Unshared)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _processes: list[ProcessReports] = field(default_factory=list)
    _ended_metrics: Sequence[Metric] = ()  # the sum of the counters of ended processes

    def serve(self, connection: Connection, process: ProcessReports) -> None:
        """Answer a process's calls until it ends. Runs in a thread of its own."""
        with self._lock:
            self._processes.append(process)
        try:
            while True:
                call: Call = connection.recv()
                answer = getattr(self, f"_{call.method}")(process, *call.arguments)
                if call.is_answered:
                    connection.send(answer)
        except (OSError, EOFError):
            pass
        finally:
            connection.close()
            self._keep_counters(process)

    def _count_request(
        self, _process: ProcessReports, name: str, rate: str, key: str
    ) -> RateWindow:
        return self._unshared.count_request(name, rate, key)

    def _merge_metrics(
        self, process: ProcessReports, metrics: Sequence[Metric]
    ) -> Sequence[Metric]:
        process.metrics = metrics
        with self._lock:
            parts = [live_process.metrics for live_process in self._processes]
            return merge_metrics([*parts, self._ended_metrics])

    def _report_metrics(self, process: ProcessReports, metrics: Sequence[Metric]) -> bool:
        process.metrics = metrics
        return True

    def _report_ready(self, process: ProcessReports) -> None:
        process.is_ready = True

    def _report_alive(self, process: ProcessReports) -> None:
        process.reports += 1

    def _keep_counters(self, process: ProcessReports) -> None:
        """Counters never decrease, but gauges are of live processes."""
        with self._lock:
            self._processes.remove(process)
            counters = [metric for metric in process.metrics if metric.type in COUNTER_TYPES]
            self._ended_metrics = merge_metrics([self._ended_metrics, counters])


def merge_metrics(parts: Iterable[Sequence[Metric]]) -> list[Metric]:
    """The metrics of several processes as those of one: samples of the same labels are added."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for metric in (metric for part in parts for metric in part):
        families.setdefault(metric.name, metric)
        samples = values.setdefault(metric.name, {})
        for sample in metric.samples:
            key = sample.name, tuple(sample.labels.items())
            if key not in samples:
                samples[key] = sample.value
            elif sample.name.endswith("_created"):
                samples[key] = min(samples[key], sample.value)
            else:
                samples[key] += sample.value
    return [_family(metric, values[metric.name]) for metric in families.values()]


def _family(like: Metric, values: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> Metric:
    family = Metric(like.name, like.documentation, like.type, like.unit)
    family.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
    return family


@lru_cache
def parse_rate(rate: str) -> limits.RateLimitItem:
    """A rate such as 3000/minute. Raises ValueError."""
    return limits.parse(rate)
