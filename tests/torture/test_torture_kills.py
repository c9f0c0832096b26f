"""Training goes on through kills at random times, and ends as if there had been none."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.store.store import Store, opened
from tests.conftest import Service, mnist_dir
from tests.torture import invariants, processes
from tests.torture.kill_loop import KillLoop
from tests.torture.witness import Spec

AT_ONCE = 2
SETTINGS = {
    "CAMREEL_MAX_PARALLEL_RUNS": str(AT_ONCE),
    "CAMREEL_MAX_ATTEMPTS": "1000",
    "CAMREEL_LEASE_SECONDS": "3",
    "CAMREEL_LOG_REQUESTS": "false",
}
SPECS: list[Spec] = [
    {
        "dataset": "mnist" if mnist_dir() else "digits",
        "architecture": {"channels": [2, 4], "hidden_units": 8},
        "epochs": 5,
        "samples_per_epoch": 500,
        "seed": seed,
        "optimizer": optimizer,
    }
    for seed, optimizer in enumerate(
        ({"name": "adadelta"}, {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9})
    )
]
Trace = list[dict[str, Any]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Trace]:
    """What each spec gives in a quiet service."""
    folder = tmp_path_factory.mktemp("undisturbed")
    service = Service(folder, SETTINGS)
    service.start()
    try:
        ids = [service.post_run(**spec) for spec in SPECS]
        assert {service.wait(run_id)["status"] for run_id in ids} == {"succeeded"}
    finally:
        service.stop()
    with opened(f"sqlite:///{folder / 'camreel.db'}") as store:
        return [invariants.trace(store, run_id) for run_id in ids]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    blobs = tmp_path / "blobs"
    found = Service(tmp_path, SETTINGS | {"CAMREEL_BLOBS": f"file:{blobs}"})
    found.start()
    yield found
    found.kill()


@pytest.fixture
def store(service: Service, tmp_path: Path) -> Iterator[Store]:
    with opened(f"sqlite:///{tmp_path / 'camreel.db'}", f"file:{tmp_path / 'blobs'}") as found:
        yield found


def test_runs_end_as_if_nothing_had_been_killed(service, store, undisturbed) -> None:
    seed = int(os.environ.get("CAMREEL_TORTURE_SEED") or random.randrange(2**32))
    kills = 8
    began = time.monotonic()
    print(f"CAMREEL_TORTURE_SEED={seed}")
    loop = KillLoop(service, store, SPECS, AT_ONCE)
    loop.run(kills, seed)
    for run_id, spec in loop.witness.acknowledged.values():
        assert service.run(run_id)["status"] == "succeeded"
        assert invariants.trace(store, run_id) == undisturbed[SPECS.index(spec)]
    invariants.check(store, service.state_dir)
    all_slots_are_free(service)
    service.stop(signal.SIGTERM)
    processes.wait_for_end(service.state_dir, set(processes.of(service.state_dir)))
    minutes = (time.monotonic() - began) / 60
    print(f"{loop.kills} kills, {loop.struck}, in {minutes:.1f} minutes")


def all_slots_are_free(service: Service) -> None:
    ids = [service.post_run(**SPECS[0] | {"epochs": 1000}) for _ in range(AT_ONCE)]
    for run_id in ids:
        service.wait(run_id, until=lambda run: run["status"] == "running")
    for run_id in ids:
        service.http.post(f"/runs/{run_id}/cancel")
        assert service.wait(run_id)["status"] == "cancelled"
