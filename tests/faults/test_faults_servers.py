"""Killed services, killed fork servers, and two services on one SQLite file."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.store.store import open_store
from tests.conftest import Service
from tests.faults.tiny import TINY, statuses, train_undisturbed, weights
from tests.processes import fork_server_pids, is_alive, wait_until, worker_pids
from tests.torture import invariants

EPOCHS = 6
TAKEOVER_SECONDS = 60.0
# Longer epochs, so that the service can be killed during one.
SLOWER = TINY | {"epochs": EPOCHS, "samples_per_epoch": 400, "batch_size": 4}


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return train_undisturbed(**SLOWER)


def check(folder: Path) -> None:
    with open_store(f"sqlite:///{folder / 'camreel.db'}") as store:
        invariants.check(store, folder)


def test_service_killed_during_training_continues_after_a_restart(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    first_service = new_service(OMP_NUM_THREADS="1", CAMREEL_LEASE_SECONDS="4")
    training = first_service.post_run(**SLOWER)
    queued = first_service.post_run(**SLOWER | {"epochs": 1})
    first_service.wait(training, condition=lambda run: run["epochs_done"] >= 1)
    workers = worker_pids(first_service.process.pid)
    weights_before = weights(first_service, training)
    times = [
        epoch["created_at"]
        for epoch in first_service.http.get(f"/runs/{training}/epochs").json()["items"]
    ]
    first_service.stop(signal.SIGKILL)
    second_service = new_service(OMP_NUM_THREADS="1", CAMREEL_LEASE_SECONDS="4")
    wait_until(lambda: not any(map(is_alive, workers)))
    assert second_service.run(queued)["id"] == queued
    run = second_service.wait(training)
    assert (run["status"], run["epochs_done"]) == ("succeeded", EPOCHS)
    assert weights(second_service, training) == expected
    # No epoch was trained again: it would have a later timestamp.
    items = second_service.http.get(f"/runs/{training}/epochs").json()["items"]
    assert [item["created_at"] for item in items][: len(weights_before)] == times[
        : len(weights_before)
    ]
    assert second_service.wait(queued)["status"] == "succeeded"
    assert weights(second_service, queued) == expected[:2]
    check(tmp_path)


@pytest.mark.torture
def test_run_continues_after_the_fork_server_is_killed(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    service = new_service(OMP_NUM_THREADS="1")
    run_id = service.post_run(**SLOWER)
    service.wait(run_id, condition=lambda run: run["epochs_done"] >= 1)
    [fork_server], workers = fork_server_pids(service.process.pid), worker_pids(service.process.pid)
    assert workers
    os.kill(fork_server, signal.SIGKILL)
    # The worker may still run, but without a lease it records nothing.
    run = service.wait(run_id)
    assert (run["status"], run["epochs_done"]) == ("succeeded", EPOCHS)
    assert weights(service, run_id) == expected
    wait_until(lambda: not any(map(is_alive, workers)))
    check(tmp_path)


@pytest.mark.torture
def test_two_servers_on_one_file_train_each_run_once_and_take_over(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    settings = {"OMP_NUM_THREADS": "1", "CAMREEL_LEASE_SECONDS": "4"}
    killed_server, other_server = new_service(**settings), new_service(**settings)
    short_spec = TINY | {"epochs": 1}
    run_ids = [server.post_run(**short_spec) for server in (killed_server, other_server)]
    assert len(set(run_ids)) == 2
    for run_id in run_ids:
        assert other_server.wait(run_id)["status"] == "succeeded"
        assert killed_server.run(run_id)["epochs_done"] == 1
        assert statuses(other_server, run_id) == ["queued", "running", "succeeded"]
        assert weights(other_server, run_id) == train_undisturbed(epochs=1)
    # One server trains a run and has another in its queue.
    running = killed_server.post_run(**SLOWER)
    killed_server.wait(running, condition=lambda run: run["status"] == "running")
    queued = killed_server.post_run(**short_spec)
    killed_server.wait(running, condition=lambda run: run["epochs_done"] >= 1)
    assert killed_server.run(queued)["status"] == "queued"
    killed_server.stop(signal.SIGKILL)
    kill_time = time.monotonic()
    epochs_done = other_server.run(running)["epochs_done"]
    other_server.wait(running, condition=lambda run: run["epochs_done"] > epochs_done)
    other_server.wait(queued, condition=lambda run: run["status"] != "queued")
    assert time.monotonic() - kill_time < TAKEOVER_SECONDS
    assert other_server.wait(running)["status"] == "succeeded"
    assert other_server.wait(queued)["status"] == "succeeded"
    assert weights(other_server, running) == expected
    check(tmp_path)
