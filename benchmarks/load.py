"""Many clients at a time: 32 of them, on a service that trains two runs meanwhile, and on one that
does not.

Each client asks again as soon as it was answered, for a heatmap that is in the cache and for the
run in turn. Any answer but 200 ends the benchmark. Clients and service share the machine's cores.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.report import Figure, Report
from benchmarks.requests import trained_epoch
from benchmarks.server import serve

CLIENTS = 32
SECONDS, QUICK_SECONDS = 60.0, 3.0
RUNS = 2
ENDLESS = {"dataset": "digits", "epochs": 1000}
Latencies = dict[str, list[float]]
"""Seconds of each request, by what was asked for."""


def run(_: int, quick: bool) -> Report:
    seconds = QUICK_SECONDS if quick else SECONDS
    overrides = {"CAMREEL_MAX_PARALLEL_RUNS": str(RUNS), "CAMREEL_RATE_LIMIT": "1000000/second"}
    with (
        tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder,
        serve(Path(folder), **overrides) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        epoch = trained_epoch(client)
        paths = {"cached heatmap": f"{epoch}/cam", "GET /runs/{id}": epoch.partition("/epochs")[0]}
        client.get(paths["cached heatmap"]).raise_for_status()
        idle = asyncio.run(_request_all(address, paths, seconds))
        training = [
            client.post("/runs", json=ENDLESS).raise_for_status().headers["location"]
            for _ in range(RUNS)
        ]
        while any(client.get(path).json()["status"] != "running" for path in training):
            time.sleep(0.2)
        busy = asyncio.run(_request_all(address, paths, seconds))
        for path in training:
            client.post(f"{path}/cancel").raise_for_status()
    return Report(
        "load",
        f"{CLIENTS} clients on the loopback interface for {seconds:g} s, each asking again at "
        f"once; no answer but 200. Then the same while {RUNS} runs train.",
        [],
        [],
        [*_figures("", idle), *_figures(", training", busy)],
    )


async def _request_all(address: str, paths: dict[str, str], seconds: float) -> Latencies:
    latencies: Latencies = {name: [] for name in paths}
    end = time.perf_counter() + seconds

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            while time.perf_counter() < end:
                for name, path in paths.items():
                    start = time.perf_counter()
                    answer = await client.get(path)
                    latencies[name].append(time.perf_counter() - start)
                    if answer.status_code != 200:
                        raise SystemExit(f"{path}: {answer.status_code}, {answer.text[:500]}")

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    return latencies


def _figures(title: str, latencies_by_name: Latencies) -> list[Figure]:
    figures = []
    for name, latencies in latencies_by_name.items():
        hundredths = statistics.quantiles(latencies, n=100)
        figures += [
            Figure(f"{name}{title}: p50", "ms", [hundredths[49] * 1000]),
            Figure(f"{name}{title}: p99", "ms", [hundredths[98] * 1000]),
            Figure(f"{name}{title}: answers", "1", [float(len(latencies))]),
        ]
    return figures
