"""What several processes share in their supervisor: rate limits and metrics."""

import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe

import pytest
from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from service.api import sharing
from service.api.sharing import ProcessReports, SharedState, Supervised, Unshared, merge_metrics
from tests.processes import wait_until

RATE = "3/minute"


class ProcessOfService:
    """A process's connection to the supervisor, and the thread of the supervisor that serves it."""

    def __init__(self, state: SharedState) -> None:
        self._connection, connection = Pipe()
        self.reports = ProcessReports()
        self.sharing = Supervised(self._connection)
        self._thread = threading.Thread(target=state.serve, args=(connection, self.reports))
        self._thread.start()

    def end(self) -> None:
        self._connection.close()
        self._thread.join()


@pytest.fixture
def new_process() -> Iterator[Callable[[], ProcessOfService]]:
    state, processes = SharedState(), []

    def make() -> ProcessOfService:
        processes.append(ProcessOfService(state))
        return processes[-1]

    yield make
    for process in processes:
        process.end()


def metrics(hits: float, streams: float) -> list[Metric]:
    counter = CounterMetricFamily("requests", "Requests.", labels=["result"])
    counter.add_metric(["hit"], hits)
    return [counter, GaugeMetricFamily("streams", "Streams.", value=streams)]


def values(families: list[Metric]) -> dict[str, float]:
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_requests_through_all_processes_count_together(new_process) -> None:
    first, second = new_process().sharing, new_process().sharing
    windows = [
        process.count_request("requests", RATE, "token 1") for process in (first, second) * 2
    ]
    assert [window.is_admitted for window in windows] == [True, True, True, False]
    assert [window.remaining for window in windows] == [2, 1, 0, 0]
    assert all(0 < window.reset_at - time.time() <= 60 for window in windows)


def test_keys_and_limits_are_counted_separately(new_process) -> None:
    process = new_process().sharing
    for name, key in [("requests", "a"), ("requests", "b"), ("sign-ins", "a")]:
        assert process.count_request(name, RATE, key).remaining == 2


def test_limit_is_the_same_with_one_process(new_process) -> None:
    alone, shared = Unshared(), new_process().sharing
    for _ in range(5):
        alone_window = alone.count_request("requests", RATE, "a")
        shared_window = shared.count_request("requests", RATE, "a")
        assert alone_window[:2] == shared_window[:2]
        assert abs(alone_window.reset_at - shared_window.reset_at) < 1


def test_process_counts_alone_while_the_supervisor_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "ANSWER_SECONDS", 0.3)
    connection, supervisors_end = Pipe()
    process = Supervised(connection)
    start = time.monotonic()
    # Waits for the first answer only.
    windows = [process.count_request("requests", RATE, "a") for _ in range(4)]
    assert 0.2 < time.monotonic() - start < 3
    assert [window.remaining for window in windows] == [2, 1, 0, 0]
    assert not windows[-1].is_admitted
    # Nothing more was sent, and notifications would block once the pipe is full.
    for _ in range(10_000):
        process.report_alive()
    thread = threading.Thread(target=SharedState().serve, args=(supervisors_end, ProcessReports()))
    thread.start()
    # The late answer belongs to none of the calls that follow. The supervisor counted one request.
    wait_until(connection.poll)
    assert process.count_request("requests", "9/minute", "b").remaining == 8
    assert process.count_request("requests", RATE, "a").remaining == 1
    connection.close()
    thread.join()


def test_process_whose_supervisor_has_ended_counts_alone() -> None:
    connection, supervisors_end = Pipe()
    supervisors_end.close()
    process = Supervised(connection)
    process.report_ready()
    process.report_metrics(metrics(1, 1))
    assert values(process.merge_metrics(metrics(2, 1)))["requests_total"] == 2
    assert process.count_request("requests", RATE, "a").remaining == 2


def test_metrics_are_sums_and_counters_outlive_their_process(new_process) -> None:
    first, second, third = new_process(), new_process(), new_process()
    first.sharing.report_metrics(metrics(10, 1))
    second.sharing.report_metrics(metrics(5, 2))
    wait_until(lambda: first.reports.metrics and second.reports.metrics)
    assert values(third.sharing.merge_metrics(metrics(1, 3))) == {
        "requests_total": 16,
        "streams": 6,
    }
    first.end()
    assert values(third.sharing.merge_metrics(metrics(2, 3))) == {
        "requests_total": 17,
        "streams": 5,
    }


def test_reports_of_a_process_are_those_of_no_other(new_process) -> None:
    ready, starting = new_process(), new_process()
    ready.sharing.report_ready()
    ready.sharing.report_alive()
    wait_until(lambda: ready.reports.reports)
    assert (ready.reports.is_ready, starting.reports.is_ready) == (True, False)


def test_histograms_are_added_by_bucket() -> None:
    registries = []
    for seconds in (0.5, 2.0):
        registry = CollectorRegistry()
        histogram = Histogram("seconds", "Seconds.", ["kind"], buckets=(1,), registry=registry)
        histogram.labels("cam").observe(seconds)
        registries.append(list(registry.collect()))
    (histogram_sum,) = merge_metrics(registries)
    samples = {
        (sample.name, sample.labels.get("le")): sample.value for sample in histogram_sum.samples
    }
    created = samples.pop(("seconds_created", None))
    assert samples == {
        ("seconds_bucket", "1.0"): 1,
        ("seconds_bucket", "+Inf"): 2,
        ("seconds_count", None): 2,
        ("seconds_sum", None): 2.5,
    }
    assert 0 <= time.time() - created < 60
