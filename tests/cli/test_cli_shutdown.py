"""A service ends in bounded time after SIGTERM, whatever hangs, and leaves no process."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from service.cli import shutdown
from tests.conftest import Service
from tests.faults.tiny import LONG
from tests.processes import fork_server_pids, is_alive, process_state, wait_until, worker_pids

# A clean shutdown may take long on a loaded machine; a hang would not end at all.
END_SECONDS = shutdown.SHUTDOWN_SECONDS + 15


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    return new_service(OMP_NUM_THREADS="1", CAMREEL_LEASE_SECONDS="30")


@pytest.fixture
def stop_process() -> Iterator[Callable[[int], None]]:
    """Stops processes with SIGSTOP and continues them at the end of the test."""
    stopped_pids: list[int] = []

    def stop(process_id: int) -> None:
        os.kill(process_id, signal.SIGSTOP)
        stopped_pids.append(process_id)
        wait_until(lambda: process_state(process_id) == "T")

    yield stop
    for process_id in stopped_pids:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)


def shut_down(service: Service, *signals: int) -> None:
    """Send signals, one after another, and wait for the process to end."""
    for number in signals:
        service.process.send_signal(number)
        time.sleep(shutdown.REPEAT_SECONDS + 0.3)
    service.process.wait(END_SECONDS)


def test_sigterm_during_worker_start_ends_in_time(service: Service) -> None:
    service.post_run(**LONG)  # the fork server takes seconds to import torch
    wait_until(lambda: fork_server_pids(service.process.pid))
    (server,) = fork_server_pids(service.process.pid)
    shut_down(service, signal.SIGTERM)
    wait_until(lambda: not is_alive(server))


def test_sigterm_with_stopped_workers_ends_in_time(service: Service, stop_process) -> None:
    run_id = service.post_run(**LONG)
    service.wait(run_id, condition=lambda run: run["progress"]["images_seen"] > 0)
    (worker,) = worker_pids(service.process.pid)
    (server,) = fork_server_pids(service.process.pid)
    stop_process(worker)
    stop_process(server)
    service.post_run(**LONG)  # waits for the stopped fork server
    shut_down(service, signal.SIGTERM)
    wait_until(lambda: not is_alive(worker) and not is_alive(server))


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], pytest.param([signal.SIGINT] * 2, marks=pytest.mark.torture)],
)
def test_signals_end_the_process_while_the_database_hangs(
    service: Service, tmp_path: Path, signals: list[int]
) -> None:
    run_id = service.post_run(**LONG)
    service.wait(run_id, condition=lambda run: run["progress"]["images_seen"] > 0)
    (worker,) = worker_pids(service.process.pid)

    def post_run() -> None:
        with suppress(httpx.HTTPError):
            httpx.post(f"{service.http.base_url}/runs", json=LONG, timeout=60, trust_env=False)

    with closing(sqlite3.connect(tmp_path / "camreel.db", isolation_level=None)) as connection:
        wait_until(lambda: not _is_busy(connection))
        requests = [threading.Thread(target=post_run) for _ in range(3)]
        for request in requests:
            request.start()
        time.sleep(1)  # they wait for the lock
        shut_down(service, *signals)
        wait_until(lambda: not is_alive(worker))
        for request in requests:
            request.join()
    code = service.process.returncode
    assert code in {-signals[0], 128 + signals[0]}


def _is_busy(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return True
    return False
