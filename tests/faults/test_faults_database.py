"""A database that is locked, restarted or full: requests are 503, and runs continue afterwards."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from service.core.spec import RunSpec
from service.flows import runs as run_flows
from service.flows import worker
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import database, events, run_lifecycle, runs
from service.store.run_status import RunStatus
from service.store.store import Store, open_store
from service.store_errors import StoreBusy, StoreFull
from tests.conftest import Service
from tests.faults.tiny import TINY, train_undisturbed, weights
from tests.uploads.conftest import Application

OUTAGE_SECONDS = 4.0
SLOWER = TINY | {"samples_per_epoch": 400, "batch_size": 4}


def test_locked_database_is_503_until_it_is_unlocked(
    new_application: Callable[..., Application], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    server = new_application()
    body = {"json": TINY, "headers": {"Idempotency-Key": "k"}}
    with closing(sqlite3.connect(tmp_path / "camreel.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        refusal = server.request("POST", "/runs", **body)
        assert (refusal.status_code, refusal.json()["type"]) == (503, "store-busy")
        assert int(refusal.headers["retry-after"]) > 0
        assert str(tmp_path) not in refusal.text
        assert server.request("GET", "/runs").json()["items"] == []
        connection.execute("ROLLBACK")
    (run_id,) = {server.request("POST", "/runs", **body).json()["id"] for _ in range(2)}
    assert server.request("GET", f"/runs/{run_id}").json()["status"] == "succeeded"
    assert len(server.request("GET", "/runs").json()["items"]) == 1


@pytest.fixture
def restart_database(postgres_database) -> Iterator[Callable[[], None]]:
    """Ends all other connections to the database, like a restart of the server."""
    server = create_engine(postgres_database, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def restart() -> None:
        with server.connect() as connection:
            connection.execute(end)

    yield restart
    server.dispose()


@pytest.mark.postgres
def test_runs_continue_after_the_server_ends_all_connections(
    new_service: Callable[..., Service],
    empty_postgres: Callable[[], str],
    restart_database: Callable[[], None],
) -> None:
    service = new_service(
        CAMREEL_DATABASE_URL=empty_postgres(),
        CAMREEL_LEASE_SECONDS="4",
        CAMREEL_MAX_ATTEMPTS="10",
        OMP_NUM_THREADS="1",
    )
    run_id = service.post_run(**SLOWER)
    service.wait(run_id, condition=lambda run: run["epochs_done"] >= 0)
    restarted = threading.Event()

    def restart_for_a_while() -> None:
        while not restarted.wait(0.05):
            restart_database()

    server = threading.Thread(target=restart_for_a_while)
    timer = threading.Timer(OUTAGE_SECONDS, restarted.set)
    server.start()
    timer.start()
    created, refusal_count = set(), 0
    try:
        while server.is_alive():
            responses = [
                service.http.get(f"/runs/{run_id}"),
                service.http.post("/runs", json=TINY, headers={"Idempotency-Key": "k"}),
            ]
            for response in responses:
                assert response.status_code in (200, 201, 503), response.text
                if response.status_code == 503:
                    refusal_count += 1
                    assert int(response.headers["retry-after"]) > 0
                if response.status_code == 201:
                    created.add(response.json()["id"])
    finally:
        restarted.set()
        server.join()
    assert refusal_count
    repeated = service.http.post("/runs", json=TINY, headers={"Idempotency-Key": "k"})
    assert repeated.status_code == 201
    assert created | {repeated.json()["id"]} == {repeated.json()["id"]}
    assert len(service.http.get("/runs").json()["items"]) == 2
    for one_id, expected_weights in (
        (run_id, train_undisturbed(**SLOWER)),
        (repeated.json()["id"], train_undisturbed()),
    ):
        final_run = service.wait(one_id)
        assert final_run["status"] == "succeeded", final_run
        assert weights(service, one_id) == expected_weights


@pytest.mark.postgres
def test_writer_stopped_in_a_transaction_does_not_block_others_forever(
    migrated_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(database, "IDLE_TIMEOUT_SECONDS", 1)
    with (
        open_store(migrated_postgres) as stopped_writer,
        open_store(migrated_postgres) as other_store,
    ):
        with other_store.write_session() as session:
            run_id = runs.create(session, "", [], {"epochs": 1}, 1).id
            lease = run_lifecycle.claim(session, run_id, "worker")

        def lock_row_and_stop() -> None:
            with stopped_writer.write_session() as session:
                assert run_lifecycle.advance(session, run_id, 0, lease=lease)
                with pytest.raises(StoreBusy), other_store.write_session() as blocked_session:
                    run_lifecycle.update_heartbeat(blocked_session, run_id, lease=lease)
                assert requeue_within_ten_seconds()

        def requeue_within_ten_seconds() -> bool:
            for _ in range(50):
                try:
                    with other_store.write_session() as session:
                        return run_lifecycle.requeue(session, lease, lost_workers=1)
                except StoreBusy:
                    continue
            return False

        with pytest.raises(StoreBusy):
            lock_row_and_stop()
        with other_store.read_session() as session:
            assert runs.get(session, run_id).status == RunStatus.QUEUED


@pytest.fixture
def workspace(store: Store, tmp_path: Path) -> Workspace:
    return Workspace(store.engine.url.render_as_string(hide_password=False), "sql", tmp_path)


def fail_at_epoch_one(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> None:
    record, errors = worker.record_epoch, [error] * times

    def record_or_fail(store, run_id, spec, result, *arguments) -> None:
        if result.epoch == 1 and errors:
            raise errors.pop()
        record(store, run_id, spec, result, *arguments)

    monkeypatch.setattr(worker, "record_epoch", record_or_fail)


@pytest.mark.parametrize(
    ("times", "expected_statuses", "error"),
    [
        pytest.param(
            *(2, ["queued", "running"] * 3 + ["succeeded"], None), marks=pytest.mark.torture
        ),
        (3, ["queued", "running"] * 3 + ["failed"], "store_busy"),
    ],
)
def test_epoch_that_could_not_be_recorded_is_trained_by_another_worker(
    store: Store,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    times,
    expected_statuses,
    error,
) -> None:
    fail_at_epoch_one(monkeypatch, StoreBusy("no answer"), times)
    spec = RunSpec.model_validate(TINY)
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    with store.read_session() as session:
        run = runs.get(session, run_id)
        event_rows = events.list_after(session, run_id, 0)
    assert [
        event.data["status"] for event in event_rows if event.type == events.STATUS
    ] == expected_statuses
    assert (run.error and run.error.type, run.attempt) == (error, 3)
    assert run.epochs_done == (0 if error else 3)


def test_error_that_cannot_be_recorded_is_reported_by_the_exit_code(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_epoch_one(monkeypatch, StoreFull("disk full"), 3)
    finish = run_lifecycle.finish

    def fail_to_finish(
        session, run_id, status, *arguments, from_statuses=(RunStatus.RUNNING,), lease=None
    ) -> bool:
        # The worker cannot record its end, but its service can.
        if from_statuses == (RunStatus.RUNNING,):
            raise StoreFull("disk full")
        return finish(session, run_id, status, *arguments, from_statuses=from_statuses, lease=lease)

    monkeypatch.setattr(run_lifecycle, "finish", fail_to_finish)
    spec = RunSpec.model_validate(TINY)
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    with store.read_session() as session:
        run = runs.get(session, run_id)
    assert (run.status, run.error.type, run.epochs_done) == ("failed", "disk_full", 0)
