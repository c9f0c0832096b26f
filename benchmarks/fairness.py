"""Cheap requests while the pool of long computations is full: 45 evaluations of all test images.

One client asks for health, the runs, a run's events from the last on, and a cached map in turn. It
measures each until its answer is complete; of the events, until their first byte.
"""

import statistics
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.connection import Connection
from benchmarks.report import Figure, Report
from benchmarks.requests import trained_epoch
from benchmarks.server import serve
from benchmarks.timing import Target

EVALUATIONS, IMAGES, QUICK_IMAGES = 45, 297, 10  # all test images of the embedded digits
SECONDS, QUICK_SECONDS = 60.0, 3.0
MAX_MILLISECONDS = 100
SPEC = {"dataset": "digits", "epochs": 2}


def run(_: int, quick: bool) -> Report:
    images, seconds = (QUICK_IMAGES, QUICK_SECONDS) if quick else (IMAGES, SECONDS)
    with (
        tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder,
        serve(Path(folder)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        epoch = trained_epoch(client)
        client.get(f"{epoch}/cam").raise_for_status()
        is_over = threading.Event()
        threads = [
            threading.Thread(
                target=_evaluate, args=(f"{address}{epoch}/evaluation", number, images, is_over)
            )
            for number in range(EVALUATIONS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1)
        latencies = _request_in_turn(address, epoch, seconds)
        pools = client.get("/metrics").text
        is_over.set()
    return Report(
        "fairness",
        f"{EVALUATIONS} clients that request an evaluation of {images} images, again when they are "
        f"refused or answered; {seconds:g} s. {_busy_threads(pools)} evaluations ran at the end.",
        [],
        [],
        [figure for name, values in latencies.items() for figure in _figures(name, values)],
    )


def _evaluate(url: str, seed: int, images: int, is_over: threading.Event) -> None:
    while not is_over.is_set():
        query = {"images": images, "method": "smooth-grad", "seed": seed}
        with suppress(httpx.TransportError):  # the service ends before they do
            httpx.get(url, params=query, timeout=None)
        is_over.wait(0.5)


def _request_in_turn(address: str, epoch: str, seconds: float) -> dict[str, list[float]]:
    run = epoch.partition("/epochs")[0]
    paths = {
        "GET /healthz": "/healthz",
        "GET /runs": "/runs",
        "GET /runs/{id}/epochs": f"{run}/epochs",
        "cached map": f"{epoch}/cam",
    }
    latencies: dict[str, list[float]] = {name: [] for name in (*paths, "events, first byte")}
    connection = Connection(address)
    end = time.perf_counter() + seconds
    with httpx.Client(base_url=address, timeout=60) as client:
        while time.perf_counter() < end:
            for name, path in paths.items():
                start = time.perf_counter()
                connection.get(path)
                latencies[name].append(time.perf_counter() - start)
            start = time.perf_counter()
            with client.stream("GET", f"{run}/events") as response:
                next(response.iter_raw())
                latencies["events, first byte"].append(time.perf_counter() - start)
            time.sleep(0.02)
    connection.close()
    return latencies


def _figures(name: str, latencies: list[float]) -> list[Figure]:
    hundredths = statistics.quantiles(latencies, n=100)
    return [
        Figure(f"{name}: p50", "ms", [hundredths[49] * 1000]),
        Figure(f"{name}: p99", "ms", [hundredths[98] * 1000], Target("<=", MAX_MILLISECONDS)),
    ]


def _busy_threads(metrics: str) -> str:
    prefix = 'camreel_pool_running{pool="batch"} '
    (line,) = [line for line in metrics.splitlines() if line.startswith(prefix)]
    return line.removeprefix(prefix).removesuffix(".0")
