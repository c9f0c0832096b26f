"""Training goes on through kills at random times, and ends as if there had been none."""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.store.store import Store, open_store
from tests.conftest import Service, mnist_dir
from tests.torture import invariants, processes
from tests.torture.kill_loop import KillLoop, Plan
from tests.torture.witness import Spec

SETTINGS = {
    "CAMREEL_MAX_ATTEMPTS": "1000",
    "CAMREEL_LEASE_SECONDS": "3",
    "CAMREEL_LOG_REQUESTS": "false",
    # However many runs share the machine: other threads would be other sums.
    "OMP_NUM_THREADS": "1",
}
SPECS: list[Spec] = [
    {
        "dataset": "mnist" if mnist_dir() else "digits",
        "architecture": {"channels": [2, 4], "hidden_units": 8},
        "epochs": 4,
        "samples_per_epoch": 500,
        "seed": seed,
        "optimizer": optimizer,
    }
    for seed, optimizer in enumerate(
        ({"name": "adadelta"}, {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9})
    )
]
Trace = list[dict[str, Any]]

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a look would hide what was killed


def in_make_test(kills: int) -> Plan:
    """One run at a time, and most kills on the heels of another."""
    return Plan(kills, SPECS[:1], at_once=1, unended=1, again=0.8)


def in_make_torture(kills: int) -> Plan:
    """Two runs at a time, whose workers wait for each other's commits, and one that waits."""
    return Plan(kills, SPECS, at_once=2, unended=3, again=0.6)


def case(database: str, blobs: str, plan: Plan, *marks: pytest.MarkDecorator) -> Any:
    if database == "postgresql":
        marks = (*marks, pytest.mark.postgres)
    return pytest.param(database, blobs, plan, marks=marks, id=f"{database}-{blobs}-{plan.kills}")


CASES = [
    case("sqlite", "file", in_make_test(3)),
    case("postgresql", "sql", in_make_test(3), pytest.mark.torture),
    *(
        case(database, blobs, in_make_torture(50), pytest.mark.torture)
        for database in ("sqlite", "postgresql")
        for blobs in ("file", "sql")
    ),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Trace]:
    """What a spec gives in a quiet service; each is trained once."""

    @cache
    def trace_of(index: int) -> Trace:
        folder = tmp_path_factory.mktemp("undisturbed")
        service = Service(folder, SETTINGS)
        service.start()
        try:
            run_id = service.post_run(**SPECS[index])
            assert service.wait(run_id)["status"] == "succeeded"
        finally:
            service.stop()
        with open_store(f"sqlite:///{folder / 'camreel.db'}") as store:
            return invariants.trace(store, run_id)

    return trace_of


@pytest.fixture
def service(place: tuple[str, str], plan: Plan, tmp_path: Path) -> Iterator[Service]:
    settings = {
        "CAMREEL_DATABASE_URL": place[0],
        "CAMREEL_BLOBS": place[1],
        "CAMREEL_MAX_PARALLEL_RUNS": str(plan.at_once),
    }
    new_service = Service(tmp_path, SETTINGS | settings)
    new_service.start()
    yield new_service
    new_service.kill()
    # Before their database is dropped.
    processes.wait_for_end(tmp_path, processes.of(tmp_path))


@pytest.fixture
def store(service: Service, place: tuple[str, str]) -> Iterator[Store]:
    with open_store(*place) as opened_store:
        yield opened_store


@pytest.mark.parametrize(("database", "blobs", "plan"), CASES)
def test_runs_end_as_if_nothing_had_been_killed(service, store, undisturbed, plan) -> None:
    seed = int(os.environ.get("CAMREEL_TORTURE_SEED") or random.randrange(2**32))
    log.info("CAMREEL_TORTURE_SEED=%d", seed)
    began = time.monotonic()
    loop = KillLoop(service, store, plan, seed)
    loop.run()
    for run_id, spec in loop.witness.acknowledged.values():
        assert service.run(run_id)["status"] == "succeeded"
        assert invariants.trace(store, run_id) == undisturbed(SPECS.index(spec))
    invariants.check(store, service.state_dir)
    if plan.at_once > 1:  # a single one has just trained
        all_slots_are_free(service, plan.at_once)
    service.stop()
    processes.wait_for_end(service.state_dir, processes.of(service.state_dir))
    minutes = (time.monotonic() - began) / 60
    statuses = len(loop.witness.acknowledged), loop.kills, loop.struck, minutes
    log.info("%d runs through %d kills, %s, in %.1f minutes", *statuses)


def all_slots_are_free(service: Service, at_once: int) -> None:
    ids = [service.post_run(**SPECS[0] | {"epochs": 1000}) for _ in range(at_once)]
    for run_id in ids:
        service.wait(run_id, condition=lambda run: run["status"] == "running")
    for run_id in ids:
        service.http.post(f"/runs/{run_id}/cancel")
        assert service.wait(run_id)["status"] == "cancelled"
