"""Cancelled and failed runs and disconnected clients leave no processes, descriptors or slots."""

import socket

from tests.conftest import Service
from tests.faults.tiny import DIVERGING, LONG, TINY
from tests.processes import open_file_count, wait_until, worker_pids

ABORTED = 12
CANCELLED = 8


def disconnect_during_request(service: Service, path: str) -> None:
    """Sends a request and disconnects before the response."""
    host, port = service.http.base_url.host, service.http.base_url.port
    with socket.create_connection((host, port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())


def test_no_process_descriptor_or_slot_leaks(service: Service) -> None:
    pid = service.process.pid
    run_id = service.post_run(**TINY)
    assert service.wait(run_id)["status"] == "succeeded"
    path = f"/runs/{run_id}/epochs/3/cam?method=layer-cam&image=test:"
    assert service.http.get(f"{path}99").status_code == 200
    wait_until(lambda: not worker_pids(pid))
    initial = open_file_count(pid)

    training = service.post_run(**LONG)
    queued = [service.post_run(**LONG) for _ in range(CANCELLED)]
    failing = service.post_run(**DIVERGING)
    for number in range(ABORTED):
        disconnect_during_request(service, f"{path}{number}")
        disconnect_during_request(service, f"/runs/{training}/events")
    service.wait(training, condition=lambda run: run["status"] == "running")
    for cancelled_id in (*queued, training):
        assert service.http.post(f"/runs/{cancelled_id}/cancel").status_code == 202
    # Runs cancelled in the queue do not delay others: the slot is free at once.
    assert service.wait(failing)["status"] == "failed"
    assert {service.run(cancelled_id)["status"] for cancelled_id in (*queued, training)} == {
        "cancelled"
    }
    assert service.wait(service.post_run(**TINY | {"epochs": 1}))["status"] == "succeeded"
    wait_until(lambda: not worker_pids(pid))
    # The number of pooled SQLite connections varies.
    wait_until(lambda: open_file_count(pid) <= initial + 10)
