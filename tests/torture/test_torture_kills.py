"""Training continues after kills at random times, and ends with the same results."""

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
from tests.conftest import ExecutedService, Service, mnist_dir
from tests.torture import invariants, processes
from tests.torture.kill_loop import KillLoop, Plan
from tests.torture.witness import Spec

SETTINGS = {
    "CAMREEL_MAX_ATTEMPTS": "1000",
    "CAMREEL_LEASE_SECONDS": "3",
    "CAMREEL_LOG_REQUESTS": "false",
    # Another number of threads changes the order of sums, and with it the weights.
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
logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines would hide those of the kills


def short_plan(kills: int) -> Plan:
    """One run at a time, and most kills soon after another."""
    return Plan(kills, SPECS[:1], parallel_runs=1, active_runs=1, continuation_probability=0.8)


def long_plan(kills: int) -> Plan:
    """Two runs at a time, whose workers wait for each other's commits, and a queued one."""
    return Plan(kills, SPECS, parallel_runs=2, active_runs=3, continuation_probability=0.6)


def case(database: str, blobs: str, plan: Plan, *marks: pytest.MarkDecorator) -> Any:
    if database == "postgresql":
        marks = (*marks, pytest.mark.postgres)
    return pytest.param(database, blobs, plan, marks=marks, id=f"{database}-{blobs}-{plan.kills}")


CASES = [
    case("sqlite", "file", short_plan(3), pytest.mark.torture),
    case("postgresql", "sql", short_plan(3), pytest.mark.torture),
    *(
        case(database, blobs, long_plan(50), pytest.mark.torture)
        for database in ("sqlite", "postgresql")
        for blobs in ("file", "sql")
    ),
]


@pytest.fixture(scope="module")
def expected_trace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Trace]:
    """Traces of the specs in a service without kills; each spec is trained once."""

    @cache
    def trace_of(index: int) -> Trace:
        folder = tmp_path_factory.mktemp("expected")
        service = ExecutedService(folder, SETTINGS)
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
def service(store_location: tuple[str, str], plan: Plan, tmp_path: Path) -> Iterator[Service]:
    settings = {
        "CAMREEL_DATABASE_URL": store_location[0],
        "CAMREEL_BLOBS": store_location[1],
        "CAMREEL_MAX_PARALLEL_RUNS": str(plan.parallel_runs),
    }
    new_service = ExecutedService(tmp_path, SETTINGS | settings)
    new_service.start()
    yield new_service
    new_service.kill()
    # They end before their database is dropped.
    processes.wait_for_end(tmp_path, processes.list_pids(tmp_path))


@pytest.fixture
def store(service: Service, store_location: tuple[str, str]) -> Iterator[Store]:
    with open_store(*store_location) as opened_store:
        yield opened_store


@pytest.mark.parametrize(("database", "blobs", "plan"), CASES)
def test_runs_end_with_the_same_results_as_without_kills(
    service, store, expected_trace, plan
) -> None:
    seed = int(os.environ.get("CAMREEL_TORTURE_SEED") or random.randrange(2**32))
    log.info("CAMREEL_TORTURE_SEED=%d", seed)
    started_at = time.monotonic()
    loop = KillLoop(service, store, plan, seed)
    loop.run()
    for run_id, spec in loop.witness.acknowledged.values():
        assert service.run(run_id)["status"] == "succeeded"
        assert invariants.trace(store, run_id) == expected_trace(SPECS.index(spec))
    invariants.check(store, service.state_dir)
    if plan.parallel_runs > 1:  # a single run has just trained
        all_slots_are_free(service, plan.parallel_runs)
    service.stop()
    processes.wait_for_end(service.state_dir, processes.list_pids(service.state_dir))
    minutes = (time.monotonic() - started_at) / 60
    statuses = len(loop.witness.acknowledged), loop.kills, loop.attack_counts, minutes
    log.info("%d runs through %d kills, %s, in %.1f minutes", *statuses)


def all_slots_are_free(service: Service, run_count: int) -> None:
    ids = [service.post_run(**SPECS[0] | {"epochs": 1000}) for _ in range(run_count)]
    for run_id in ids:
        service.wait(run_id, condition=lambda run: run["status"] == "running")
    for run_id in ids:
        service.http.post(f"/runs/{run_id}/cancel")
        assert service.wait(run_id)["status"] == "cancelled"
