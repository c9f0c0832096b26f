"""Requests for heatmaps over HTTP: a real server, one client, one request at a time.

A first request decodes nothing new (the epoch's network is in memory) but computes the map, keeps
its row and draws the picture. A repeated one asks for the same picture again. With `If-None-Match`
the answer is 304 and has no body. `GET /healthz` is the floor: the framework and the client alone.
"""

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.report import Report
from benchmarks.server import serve
from benchmarks.timing import interleaved, mean_seconds, ratio

EPOCHS = 2
REQUESTS, QUICK_REQUESTS = 100, 10  # a turn
TRAINING_IMAGES = 1_500  # of the embedded digits: each is asked for once at most
TRAINING_TIMEOUT_SECONDS = 600
POLL_SECONDS = 0.2


def run(rounds: int, quick: bool) -> Report:
    requests = QUICK_REQUESTS if quick else REQUESTS
    rounds = min(rounds, TRAINING_IMAGES // (requests + 1) - 1)
    with (
        tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as folder,
        serve(Path(folder)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        cam = trained_epoch(client) + "/cam"
        new_images = (f"train:{index}" for index in itertools.count())
        image = next(new_images)
        etag = _get(client, cam, 200, image=image).headers["etag"]

        timings = interleaved(
            {
                "GET .../cam, first": mean_seconds(
                    requests, lambda: _get(client, cam, 200, image=next(new_images))
                ),
                "GET .../cam, repeated": mean_seconds(
                    requests, lambda: _get(client, cam, 200, image=image)
                ),
                "GET .../cam, If-None-Match": mean_seconds(
                    requests, lambda: _get(client, cam, 304, etag, image=image)
                ),
                "GET /healthz": mean_seconds(requests, lambda: _get(client, "/healthz", 200)),
            },
            rounds,
        )
    first, repeated, unchanged, health = timings.values()
    return Report(
        "requests",
        f"One client on the loopback interface, {requests} requests a turn, mean of one request. "
        "Overlays of 224 x 224 pixels.",
        [first, repeated, unchanged, health],
        [
            ratio("first / repeated", first, repeated),
            ratio("first / floor", first, health),
            ratio("repeated / floor", repeated, health),
            ratio("304 / floor", unchanged, health),
        ],
    )


def _get(
    client: httpx.Client, path: str, status: int, etag: str | None = None, **query: str
) -> httpx.Response:
    response = client.get(path, params=query, headers={"If-None-Match": etag} if etag else None)
    if response.status_code != status:
        raise SystemExit(f"{response.url}: {response.status_code}, {response.text[:500]}")
    return response


def trained_epoch(client: httpx.Client) -> str:
    """Train a short run on the embedded digits; the path of its last epoch."""
    return f"{train_digits(client, EPOCHS)}/epochs/{EPOCHS}"


def train_digits(client: httpx.Client, epochs: int, **spec: Any) -> str:
    """Train a run on the embedded digits; its path. Raises SystemExit if it does not succeed."""
    body = {"dataset": "digits", "epochs": epochs, **spec}
    path = client.post("/runs", json=body).raise_for_status().headers["location"]
    deadline = time.monotonic() + TRAINING_TIMEOUT_SECONDS
    while (status := _get(client, path, 200).json()["status"]) in ("queued", "running"):
        if time.monotonic() > deadline:
            raise SystemExit(f"{path} is still {status}")
        time.sleep(POLL_SECONDS)
    if status != "succeeded":
        raise SystemExit(f"{path} {status}")
    return path
