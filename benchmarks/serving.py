"""The HTTP service beside what an engineer would write without it, on the same server and flags.

`bare` is a FastAPI endpoint that returns the same bytes, `StaticFiles` serves them from a file. The
plain service draws each map with pytorch-grad-cam, reading its weights for every request or once.
One client on a kept connection, one request at a time; then 32 clients, each asking again at once.
"""

import itertools
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.connection import Connection
from benchmarks.report import Figure, Report
from benchmarks.requests import trained_epoch
from benchmarks.server import free_port, serve, wait_until_ready
from benchmarks.timing import Target, interleaved, mean_seconds, ratio

REQUESTS, QUICK_REQUESTS = 500, 20  # of a turn, for answers that exist
MAPS, QUICK_MAPS = 50, 5  # of a turn, for answers that are computed
CLIENTS = 32
SECONDS, QUICK_SECONDS = 60.0, 2.0
RUNS = 2
ENDLESS = {"dataset": "digits", "epochs": 1000}
SERVER_FLAGS = ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--no-server-header",
                "--timeout-keep-alive", "60"]  # fmt: skip


def run(rounds: int, quick: bool) -> Report:
    requests, maps = (QUICK_REQUESTS, QUICK_MAPS) if quick else (REQUESTS, MAPS)
    seconds = QUICK_SECONDS if quick else SECONDS
    overrides = {"CAMREEL_MAX_PARALLEL_RUNS": str(RUNS)}
    with (
        tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder,
        serve(Path(folder), **overrides) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        epoch = trained_epoch(client)
        picture = client.get(f"{epoch}/cam")
        (Path(folder) / "cam.png").write_bytes(picture.content)
        weights = client.get(f"{epoch}/checkpoint").content
        (Path(folder) / "checkpoint").write_bytes(weights)
        with serve_plainly(Path(folder)) as plain_address:
            ours, plain = Connection(address), Connection(plain_address)
            cam, etag = f"{epoch}/cam", {"If-None-Match": picture.headers["etag"]}
            index = itertools.count()
            timings = interleaved(
                {
                    "bare endpoint": mean_seconds(requests, lambda: plain.get("/bare")),
                    "StaticFiles": mean_seconds(requests, lambda: plain.get("/static/cam.png")),
                    "GET /healthz": mean_seconds(requests, lambda: ours.get("/healthz")),
                    "cached map": mean_seconds(requests, lambda: ours.get(cam)),
                    "304": mean_seconds(requests, lambda: ours.get(cam, etag, 304)),
                    "new image": mean_seconds(
                        maps, lambda: ours.get(f"{cam}?image=train:{next(index) % 1500}")
                    ),
                    "plain, weights from disk": mean_seconds(
                        maps, lambda: plain.get(f"/cam?index={next(index) % 1500}")
                    ),
                    "plain, network in memory": mean_seconds(
                        maps, lambda: plain.get(f"/cam-in-memory?index={next(index) % 1500}")
                    ),
                },
                min(rounds, 1500 // (3 * maps) - 1),
            )
            figures = [
                *_throughputs(address, cam, plain_address, "", seconds),
                *_while_training(
                    client,
                    lambda: _throughputs(address, cam, plain_address, ", two trainings", seconds),
                ),
            ]
    bare, _, health, cached, unchanged, new, from_disk, in_memory = timings.values()
    return Report(
        "serving",
        f"{requests} requests a turn ({maps} where a map is computed), mean of one; "
        f"overlays of 224 x 224 pixels. {CLIENTS} clients for {seconds:g} s. The service writes a "
        "log line for each request, checks its host and origin, and validates what it sends.",
        list(timings.values()),
        [
            ratio("cached map / bare endpoint", cached, bare, Target("<=", 1.5)),
            ratio("304 / bare endpoint", unchanged, bare, Target("<=", 1.5)),
            ratio("GET /healthz / bare endpoint", health, bare, Target("<=", 1.5)),
            ratio("plain from disk / new image", from_disk, new, Target(">=", 4)),
            ratio("plain in memory / new image", in_memory, new, Target(">=", 2)),
        ],
        figures,
    )


@contextmanager
def serve_plainly(folder: Path) -> Iterator[str]:
    """`benchmarks/plain_service.py` on the service's server and flags; its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "benchmarks.plain_service:app", *SERVER_FLAGS,
         "--log-level", "warning", "--port", str(port)],
        env=os.environ | {"PLAIN_SERVICE_FOLDER": str(folder)},
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(process, f"{address}/bare")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _while_training(client: httpx.Client, measure: Callable[[], list[Figure]]) -> list[Figure]:
    runs = [
        client.post("/runs", json=ENDLESS).raise_for_status().headers["location"]
        for _ in range(RUNS)
    ]
    while any(client.get(path).json()["status"] != "running" for path in runs):
        time.sleep(0.2)
    try:
        return measure()
    finally:
        for path in runs:
            client.post(f"{path}/cancel").raise_for_status()


def _throughputs(
    address: str, cam: str, plain_address: str, title: str, seconds: float
) -> list[Figure]:
    ours = _throughput(f"{address}{cam}", seconds)
    static = _throughput(f"{plain_address}/static/cam.png", seconds)
    return [
        Figure(f"cached maps{title}", "1/s", [ours]),
        Figure(f"StaticFiles{title}", "1/s", [static]),
        Figure(f"cached maps / StaticFiles{title}", "1", [ours / static], Target(">=", 0.5)),
    ]


def _throughput(url: str, seconds: float) -> float:
    """Answers per second to all clients, which are threads of a process of their own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(request_from_threads, (url, seconds))


def request_from_threads(url: str, seconds: float) -> float:
    """Answers per second."""
    parts = urlsplit(url)
    end = time.perf_counter() + seconds
    counts = [0] * CLIENTS

    def request_repeatedly(number: int) -> None:
        connection = Connection(f"http://{parts.netloc}")
        while time.perf_counter() < end:
            connection.get(parts.path)
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=request_repeatedly, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds
