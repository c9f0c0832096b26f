"""A worker is killed at each step of an epoch's commit; the run ends with the same weights."""

import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import failpoints
from service.core.spec import RunSpec
from service.errors import CamreelError
from service.failpoints import FAILPOINTS
from service.flows import runs as run_flows
from service.flows.dispatch import LeaseMonitor, requeue_or_fail
from service.flows.run_errors import WORKER_LOST
from service.flows.worker import WORKER_IMPORTS, train_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import run_lifecycle, runs, schema
from service.store.run_lifecycle import Lease
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import Store, open_store
from tests.torture import invariants

SPEC = RunSpec.model_validate(
    {
        "dataset": "digits",
        "architecture": {"channels": [4, 8], "hidden_units": 16},
        "epochs": 2,
        "samples_per_epoch": 100,
        "seed": 5,
    }
)
ALWAYS = ("before-commit", "after-commit")
# A process that has imported torch and has no threads: workers are forked from it quickly.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(WORKER_IMPORTS))


def train_with_failpoint(workspace: Workspace, run_id: int, failpoint: str) -> None:
    failpoints.arm(failpoint)
    train_run(workspace, run_id)


def run_worker(workspace: Workspace, run_id: int, failpoint: str = "") -> int | None:
    """Train the run in a worker; return its exit code."""
    process = FORKS.Process(target=train_with_failpoint, args=(workspace, run_id, failpoint))
    process.start()
    process.join(120)
    return process.exitcode


def cases() -> Iterator[Any]:
    """Every failpoint with every backend; `make test` omits most other than SQLite with files."""
    for database, blobs in itertools.product(("sqlite", "postgresql"), ("file", "sql")):
        for name in FAILPOINTS:
            if blobs == "sql" and name.startswith("blob-"):
                continue  # steps of the file backend
            marks = [pytest.mark.postgres] if database == "postgresql" else []
            if (database, blobs) != ("sqlite", "file") and name not in ALWAYS:
                marks.append(pytest.mark.torture)
            yield pytest.param(name, database, blobs, marks=marks, id=f"{name}-{database}-{blobs}")


@pytest.fixture
def database() -> str:
    return "sqlite"


@pytest.fixture
def blobs() -> str:
    return "file"


@pytest.fixture
def workspace(store_location: tuple[str, str], tmp_path: Path) -> Workspace:
    return Workspace(*store_location, tmp_path)


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with open_store(workspace.database, workspace.blobs) as opened_store:
        schema.ensure(opened_store)
        yield opened_store


@pytest.fixture
def new_run(store: Store) -> Callable[[], int]:
    def create() -> int:
        with store.write_session() as session:
            return runs.create(session, "", [], SPEC.model_dump(mode="json"), SPEC.epochs).id

    return create


@pytest.fixture(scope="module")
def expected_weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("expected")
    workspace = Workspace(f"sqlite:///{folder / 'camreel.db'}", "sql", folder)
    with open_store(workspace.database) as store:
        schema.ensure(store)
        with store.write_session() as session:
            run = runs.create(session, "", [], SPEC.model_dump(mode="json"), SPEC.epochs)
        assert run_worker(workspace, run.id) == 0
        return invariants.weights(store, run.id)


def get_run(store: Store, run_id: int) -> Run:
    with store.read_session() as session:
        return runs.get(session, run_id)


def lose_worker(store: Store, workspace: Workspace, run_id: int) -> bool:
    run = get_run(store, run_id)
    lease = Lease(run_id, run.attempt, run.lease_owner or "")
    return requeue_or_fail(store, workspace, lease, WORKER_LOST)


@pytest.mark.parametrize(("name", "database", "blobs"), list(cases()))
def test_run_killed_at_a_step_of_a_commit_equals_an_uninterrupted_one(
    name, workspace, store, new_run, expected_weights, tmp_path
) -> None:
    run_id = new_run()
    assert run_worker(workspace, run_id, f"{name}:kill@2") == -signal.SIGKILL
    assert get_run(store, run_id).status == RunStatus.RUNNING
    invariants.check(store, tmp_path)
    assert lose_worker(store, workspace, run_id)
    assert run_worker(workspace, run_id) == 0
    assert get_run(store, run_id).status == RunStatus.SUCCEEDED
    invariants.check(store, tmp_path)
    assert invariants.weights(store, run_id) == expected_weights


def test_full_disk_fails_the_run_and_keeps_its_epochs(
    workspace, store, new_run, expected_weights, tmp_path
) -> None:
    run_id = new_run()
    # The third blob is the checkpoint of epoch 1.
    assert run_worker(workspace, run_id, "blob-written:full@3") == 0
    run = get_run(store, run_id)
    assert (run.status, run.error.type, run.epochs_done) == (RunStatus.FAILED, "disk_full", 0)
    invariants.check(store, tmp_path)
    run_flows.extend_run(store, run_id, None)
    assert run_worker(workspace, run_id) == 0
    assert invariants.weights(store, run_id) == expected_weights


def test_run_is_given_to_three_workers_and_then_fails(store, workspace, new_run) -> None:
    run_id = new_run()
    for attempt in (1, 2, 3):
        with store.write_session() as session:
            assert run_lifecycle.claim(session, run_id, str(attempt))
        assert lose_worker(store, workspace, run_id) == (attempt < 3)
    run = get_run(store, run_id)
    assert (run.status, run.error, run.attempt) == (RunStatus.FAILED, WORKER_LOST, 3)


class RecordingExecutor(InlineExecutor):
    def __init__(self) -> None:
        self.run_ids: list[int] = []

    def submit(self, job) -> None:
        self.run_ids.append(job.arguments[1])


def test_lease_expires_by_the_monitors_clock_alone(store, workspace, new_run) -> None:
    run_id = new_run()
    executor = RecordingExecutor()
    lease_monitor = LeaseMonitor(store, executor, workspace)
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, run_id, "worker")
    for scan_seconds in (1000.0, 1029.0):
        assert lease_monitor.scan(scan_seconds) == []
    with store.write_session() as session:
        assert run_lifecycle.update_heartbeat(session, run_id, lease=lease)
    # A new heartbeat restarts the thirty seconds, whatever times the rows have.
    assert lease_monitor.scan(1040.0) == []
    assert lease_monitor.scan(1070.0) == []
    assert lease_monitor.scan(1070.5) == [run_id]
    assert executor.run_ids == [run_id]
    assert get_run(store, run_id).status == RunStatus.QUEUED


@pytest.mark.parametrize("text", ["nowhere:kill", "after-blob:dance", "after-blob:kill@0"])
def test_unknown_failpoint_is_refused(text: str) -> None:
    with pytest.raises(CamreelError):
        failpoints.arm(text)
    failpoints.arm("")
