"""A service keeps running with unread standard error, and with few descriptors."""

import fcntl
import json
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from service.cli.listener import connection_limit
from service.errors import CamreelError
from tests.conftest import ExecutedService, Service


@contextmanager
def run_service(folder: Path, stderr: int, preexec: Callable[[], None]) -> Iterator[Service]:
    service = ExecutedService(folder, stderr=stderr, preexec_fn=preexec)
    service.start()
    try:
        yield service
        service.stop()
    finally:
        service.kill()


def test_service_with_unread_log_answers_and_trains(tmp_path: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with run_service(tmp_path, write, lambda: None) as service:
            for _ in range(100):
                assert service.http.get("/healthz").status_code == 200
            run = service.wait(service.post_run(dataset="digits", epochs=1, samples_per_epoch=60))
            assert run["status"] == "succeeded"
            # Earlier log lines can still be read.
            assert json.loads(os.read(read, 4096).splitlines()[0])["event"] == "request"
    finally:
        os.close(read)
        os.close(write)


def test_service_with_few_descriptors_recovers_and_logs_little(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    with (tmp_path / "log").open("w+") as log:
        with run_service(tmp_path, log.fileno(), limit) as service, ExitStack() as stack:
            url = service.http.base_url
            address = (url.host, url.port or 80)
            assert service.http.get("/runs").status_code == 200
            connections = [
                stack.enter_context(socket.create_connection(address, 10)) for _ in range(300)
            ]
            # The earlier connection is still served.
            assert service.http.get("/runs").status_code == 200
            run = service.post_run(dataset="digits", epochs=1, samples_per_epoch=60)
            for connection in connections:
                connection.close()
            service.wait(run)
            with httpx.Client(base_url=url, trust_env=False) as another:
                assert another.get("/runs").status_code == 200
        log.seek(0)
        lines = [json.loads(line) for line in log]
    refusals = [line for line in lines if line["event"] == "connections refused"]
    assert 1 <= len(refusals) <= 10
    assert (
        len([line for line in lines if line["event"] not in ("request", "connections refused")])
        == 1
    )


@pytest.mark.parametrize(
    ("limit", "connections"), [(100, 32), (1000, 500), (resource.RLIM_INFINITY, 500), (70, None)]
)
def test_connection_limit_follows_descriptor_limit(monkeypatch, limit, connections) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    if connections is None:
        with pytest.raises(CamreelError, match="open files is 70"):
            connection_limit(500, 1)
    else:
        assert connection_limit(500, 1) == connections
