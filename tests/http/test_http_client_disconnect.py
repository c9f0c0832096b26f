"""Client disconnects: the computation ends, unless another client waits for the same result."""

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.conftest import Service

# Ten probes of four epochs with thousands of passes each: this would take minutes.
LONG = "ss-cam?samples=256"
SHORT = "ss-cam?samples=2"


def send_request(service: Service, path: str) -> socket.socket:
    """Sends a request and returns its connection without reading the response."""
    url = service.http.base_url
    connection = socket.create_connection((url.host, url.port or 80), 20)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
    return connection


def has_ended(http: httpx.Client, method: str) -> bool:
    """Whether the computation of an atlas by this method has ended."""
    metrics = http.get("/metrics").text
    name = f'camreel_response_duration_seconds_count{{kind="atlas",method="{method}"}} 1.0'
    return name in metrics


def count_recorded_maps(service: Service, method: str) -> int:
    with sqlite3.connect(service.state_dir / "camreel.db") as connection:
        query = "SELECT count(*) FROM heatmaps WHERE method = ?"
        return int(connection.execute(query, [method]).fetchone()[0])


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_computation_ends_when_its_only_client_disconnects(
    service: Service, http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/atlas?{urlencode({'method': LONG})}"
    initial_count = count_recorded_maps(service, LONG)
    with send_request(service, path):
        time.sleep(
            0.3
        )  # the computation has started, or starts after the disconnect: both must end
    wait_for(lambda: has_ended(http, LONG))
    assert count_recorded_maps(service, LONG) - initial_count < 10


def test_computation_continues_for_another_client_with_the_same_request(
    service: Service, http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    params = {"method": SHORT, "epochs": "1"}
    path = f"/runs/{finished_run['id']}/atlas"
    with ThreadPoolExecutor(1) as threads:
        with send_request(service, f"{path}?{urlencode(params)}"):
            time.sleep(0.1)
            other_response = threads.submit(http.get, path, params=params)
            time.sleep(0.1)
        assert other_response.result().status_code == 200
    assert count_recorded_maps(service, SHORT) == 10
