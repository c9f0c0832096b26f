"""A client that goes before its answer: the work for it ends, unless another waits for the same."""

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.conftest import Service

# Ten probes of four epochs, each by thousands of passes: minutes, if it were not ended.
LONG = "ss-cam?samples=256"
SHORT = "ss-cam?samples=2"


def half_asked(service: Service, path: str) -> socket.socket:
    """A connection on which a request was sent and no answer was read."""
    url = service.http.base_url
    one = socket.create_connection((url.host, url.port or 80), 20)
    one.sendall(f"GET {path} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
    return one


def ended(http: httpx.Client, method: str) -> bool:
    """Whether an atlas by that method was being made and is not any more."""
    told = http.get("/metrics").text
    name = f'camreel_response_duration_seconds_count{{kind="atlas",method="{method}"}} 1.0'
    return name in told


def kept(service: Service, method: str) -> int:
    with sqlite3.connect(service.state_dir / "camreel.db") as connection:
        query = "SELECT count(*) FROM heatmaps WHERE method = ?"
        return int(connection.execute(query, [method]).fetchone()[0])


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_work_ends_when_its_only_client_has_gone(
    service: Service, http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/atlas?{urlencode({'method': LONG})}"
    before = kept(service, LONG)
    with half_asked(service, path):
        time.sleep(0.3)  # the work has begun, or begins for nobody: both must end
    wait_for(lambda: ended(http, LONG))
    assert kept(service, LONG) - before < 10


def test_work_goes_on_for_another_client_that_waits_for_the_same(
    service: Service, http: httpx.Client, finished_run: dict[str, Any]
) -> None:
    params = {"method": SHORT, "epochs": "1"}
    path = f"/runs/{finished_run['id']}/atlas"
    with ThreadPoolExecutor(1) as threads:
        with half_asked(service, f"{path}?{urlencode(params)}"):
            time.sleep(0.1)
            other_response = threads.submit(http.get, path, params=params)
            time.sleep(0.1)
        assert other_response.result().status_code == 200
    assert kept(service, SHORT) == 10
