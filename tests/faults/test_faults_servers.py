"""Services that are killed, or what they fork workers from, and two of them on one SQLite file."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.store.store import open_store
from tests.conftest import Service
from tests.faults.tiny import TINY, statuses, undisturbed, weights
from tests.processes import fork_server_pids, is_alive, wait_until, worker_pids
from tests.torture import invariants

EPOCHS = 6
GOES_ON_SECONDS = 60.0
# Longer epochs, so that there is a middle to be killed in.
SLOWER = TINY | {"epochs": EPOCHS, "samples_per_epoch": 400, "batch_size": 4}


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return undisturbed(**SLOWER)


def check(folder: Path) -> None:
    with open_store(f"sqlite:///{folder / 'camreel.db'}") as store:
        invariants.check(store, folder)


def test_a_service_killed_in_mid_training_goes_on_where_it_was(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    first_service = new_service(OMP_NUM_THREADS="1", CAMREEL_LEASE_SECONDS="4")
    training = first_service.post_run(**SLOWER)
    waiting = first_service.post_run(**SLOWER | {"epochs": 1})
    first_service.wait(training, until=lambda run: run["epochs_done"] >= 1)
    workers = worker_pids(first_service.process.pid)
    weights_before = weights(first_service, training)
    times = [
        epoch["created_at"]
        for epoch in first_service.http.get(f"/runs/{training}/epochs").json()["items"]
    ]
    first_service.stop(signal.SIGKILL)
    second_service = new_service(OMP_NUM_THREADS="1", CAMREEL_LEASE_SECONDS="4")
    wait_until(lambda: not any(map(is_alive, workers)))
    assert second_service.run(waiting)["id"] == waiting
    run = second_service.wait(training)
    assert (run["status"], run["epochs_done"]) == ("succeeded", EPOCHS)
    assert weights(second_service, training) == expected
    # None was trained again: it would have a later moment.
    items = second_service.http.get(f"/runs/{training}/epochs").json()["items"]
    assert [item["created_at"] for item in items][: len(weights_before)] == times[
        : len(weights_before)
    ]
    assert second_service.wait(waiting)["status"] == "succeeded"
    assert weights(second_service, waiting) == expected[:2]
    check(tmp_path)


@pytest.mark.torture
def test_a_run_goes_on_when_what_its_worker_was_forked_from_is_killed(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    service = new_service(OMP_NUM_THREADS="1")
    run_id = service.post_run(**SLOWER)
    service.wait(run_id, until=lambda run: run["epochs_done"] >= 1)
    [fork_server], workers = fork_server_pids(service.process.pid), worker_pids(service.process.pid)
    assert workers
    os.kill(fork_server, signal.SIGKILL)
    # The worker may live on: its lease is lost, so it records nothing more.
    run = service.wait(run_id)
    assert (run["status"], run["epochs_done"]) == ("succeeded", EPOCHS)
    assert weights(service, run_id) == expected
    wait_until(lambda: not any(map(is_alive, workers)))
    check(tmp_path)


@pytest.mark.torture
def test_two_servers_on_one_file_train_each_run_once_and_one_goes_on_for_the_other(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    settings = {"OMP_NUM_THREADS": "1", "CAMREEL_LEASE_SECONDS": "4"}
    killed, left = new_service(**settings), new_service(**settings)
    short = TINY | {"epochs": 1}
    together = [server.post_run(**short) for server in (killed, left)]
    assert len(set(together)) == 2
    for run_id in together:
        assert left.wait(run_id)["status"] == "succeeded"
        assert killed.run(run_id)["epochs_done"] == 1
        assert statuses(left, run_id) == ["queued", "running", "succeeded"]
        assert weights(left, run_id) == undisturbed(epochs=1)
    # Now one trains a run and has another in its queue.
    running = killed.post_run(**SLOWER)
    killed.wait(running, until=lambda run: run["status"] == "running")
    queued = killed.post_run(**short)
    killed.wait(running, until=lambda run: run["epochs_done"] >= 1)
    assert killed.run(queued)["status"] == "queued"
    killed.stop(signal.SIGKILL)
    at = time.monotonic()
    epochs_done = left.run(running)["epochs_done"]
    left.wait(running, until=lambda run: run["epochs_done"] > epochs_done)
    left.wait(queued, until=lambda run: run["status"] != "queued")
    assert time.monotonic() - at < GOES_ON_SECONDS
    assert left.wait(running)["status"] == "succeeded"
    assert left.wait(queued)["status"] == "succeeded"
    assert weights(left, running) == expected
    check(tmp_path)
