"""Workers that are stopped until their lease expires, and may continue later."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service import failpoints
from service.core.spec import RunSpec
from service.flows import runs as run_flows
from service.flows.dispatch import LeaseMonitor
from service.flows.worker import train_run
from service.flows.workspace import Workspace
from service.store import database, runs
from service.store.store import Store, open_store
from service.store_errors import StoreBusy
from tests.conftest import Service
from tests.faults.recording_executor import RecordingExecutor
from tests.faults.tiny import TINY, statuses, train_undisturbed, weights
from tests.processes import is_alive, process_state, wait_until, worker_pids
from tests.torture import invariants

LEASE_SECONDS = "3"
FORKS = multiprocessing.get_context("forkserver")


def work(workspace: Workspace, run_id: int, failpoint: str) -> None:
    failpoints.arm(failpoint)
    train_run(workspace, run_id)


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return train_undisturbed()


def rows_of(file: Path, run_id: int) -> list[tuple]:
    tables = ("epochs", "checkpoints", "events", "heatmaps", "training_states", "predictions")
    with closing(sqlite3.connect(file)) as connection:
        rows_by_table = connection.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchall()
        for table in tables:
            query = f"SELECT * FROM {table} WHERE run_id = ?"
            rows_by_table += sorted(connection.execute(query, (run_id,)).fetchall(), key=repr)
        return rows_by_table


def test_worker_that_continues_after_losing_its_lease_writes_nothing_and_exits(
    new_service: Callable[..., Service], migrated_sqlite: Path, tmp_path: Path, expected: list[str]
) -> None:
    file = tmp_path / "camreel.db"
    file.write_bytes(migrated_sqlite.read_bytes())
    workspace = Workspace(f"sqlite:///{file}", "sql", tmp_path)
    with open_store(workspace.database) as store, store.write_session() as session:
        spec = RunSpec.model_validate(TINY)
        run_id = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs).id
    # For example on a suspended machine: no service can kill it.
    late_worker = FORKS.Process(target=work, args=(workspace, run_id, "before-begin:stop@2"))
    late_worker.start()
    try:
        wait_until(lambda: process_state(late_worker.pid) == "T")
        service = new_service(CAMREEL_LEASE_SECONDS=LEASE_SECONDS, OMP_NUM_THREADS="1")
        assert service.run(run_id)["status"] == "running"
        assert service.wait(run_id)["status"] == "succeeded"
        assert weights(service, run_id) == expected
        assert statuses(service, run_id) == [
            "queued", "running", "queued", "running", "succeeded",
        ]  # fmt: skip
        rows_before = rows_of(file, run_id)
        os.kill(late_worker.pid, signal.SIGCONT)
        late_worker.join(60)
        assert late_worker.exitcode == 0
        assert rows_of(file, run_id) == rows_before
    finally:
        late_worker.kill()
        late_worker.join()


def test_worker_stopped_in_a_transaction_is_killed_and_its_run_continues(
    new_service: Callable[..., Service], tmp_path: Path, expected: list[str]
) -> None:
    service = new_service(
        CAMREEL_LEASE_SECONDS=LEASE_SECONDS,
        CAMREEL_FAILPOINT="before-commit:stop@2",
        CAMREEL_FAILPOINT_MARK=str(tmp_path / "stopped"),
        OMP_NUM_THREADS="1",
    )
    run_id = service.post_run(**TINY)
    wait_until((tmp_path / "stopped").exists)
    (stopped_pid,) = worker_pids(service.process.pid)
    assert service.run(run_id)["epochs_done"] == 0
    # The stopped worker holds the write lock.
    other_id = service.post_run(**TINY | {"epochs": 1})
    wait_until(lambda: not is_alive(stopped_pid))
    assert service.wait(run_id)["status"] == "succeeded"
    assert weights(service, run_id) == expected
    assert service.wait(other_id)["status"] == "succeeded"
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as store:
        invariants.check(store, tmp_path)


def test_worker_stopped_with_an_exclusive_lock_is_killed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.file is None:
        pytest.skip("PostgreSQL readers never wait")
    executor = RecordingExecutor(store)
    workspace = Workspace("", "", tmp_path, lease_seconds=30.0)
    lease_monitor = LeaseMonitor(store, executor, workspace)
    spec = RunSpec.model_validate(TINY)
    for _ in range(2):
        run_flows.start_run(store, executor, workspace, spec)
    running = executor.waiting[0]
    assert executor.take(running)
    lease_monitor.scan(0.0)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    with (
        open_store(f"sqlite:///{store.file}") as lease_monitor.store,
        closing(sqlite3.connect(store.file, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN EXCLUSIVE")
        for scan_seconds, killed in ((29.0, []), (31.0, [running])):
            with pytest.raises(StoreBusy):
                lease_monitor.scan(scan_seconds)
            assert executor.killed == killed
