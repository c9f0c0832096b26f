"""A service ends within bounded time after SIGTERM, whatever hangs, and leaves no process."""

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

# An orderly end takes as long as a loaded machine makes it; a hang would take for ever.
END_SECONDS = shutdown.SHUTDOWN_SECONDS + 15


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    return new_service(OMP_NUM_THREADS="1", CAMREEL_LEASE_SECONDS="30")


@pytest.fixture
def continued() -> Iterator[Callable[[int], None]]:
    """Stops processes, which go on at the latest when the test ends."""
    stopped: list[int] = []

    def stop(process_id: int) -> None:
        os.kill(process_id, signal.SIGSTOP)
        stopped.append(process_id)
        wait_until(lambda: process_state(process_id) == "T")

    yield stop
    for process_id in stopped:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)


def end(service: Service, *signals: int) -> None:
    """Send signals, one after another, and wait for the process to end."""
    for number in signals:
        service.process.send_signal(number)
        time.sleep(shutdown.REPEAT_SECONDS + 0.3)
    service.process.wait(END_SECONDS)


def test_sigterm_while_the_first_worker_starts_is_bounded(service: Service) -> None:
    service.post_run(**LONG)  # what workers are forked from imports for seconds
    wait_until(lambda: fork_server_pids(service.process.pid))
    (server,) = fork_server_pids(service.process.pid)
    end(service, signal.SIGTERM)
    wait_until(lambda: not is_alive(server))


def test_sigterm_while_workers_and_what_they_are_forked_from_are_stopped_is_bounded(
    service: Service, continued
) -> None:
    run_id = service.post_run(**LONG)
    service.wait(run_id, until=lambda run: run["progress"]["images_seen"] > 0)
    (worker,) = worker_pids(service.process.pid)
    (server,) = fork_server_pids(service.process.pid)
    continued(worker)
    continued(server)
    service.post_run(**LONG)  # waits for what is stopped
    end(service, signal.SIGTERM)
    wait_until(lambda: not is_alive(worker) and not is_alive(server))


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT] * 2])
def test_signals_while_the_database_hangs_end_the_process(
    service: Service, tmp_path: Path, signals: list[int]
) -> None:
    run_id = service.post_run(**LONG)
    service.wait(run_id, until=lambda run: run["progress"]["images_seen"] > 0)
    (worker,) = worker_pids(service.process.pid)

    def ask() -> None:
        with suppress(httpx.HTTPError):
            httpx.post(f"{service.http.base_url}/runs", json=LONG, timeout=60, trust_env=False)

    with closing(sqlite3.connect(tmp_path / "camreel.db", isolation_level=None)) as other:
        wait_until(lambda: not _is_busy(other))
        requests = [threading.Thread(target=ask) for _ in range(3)]
        for request in requests:
            request.start()
        time.sleep(1)  # they wait for the lock
        end(service, *signals)
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
