"""A database that is locked, restarted or full: told, waited for, and gone on with."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from service.core.spec import RunSpec
from service.errors import StoreBusy, StoreFull
from service.flows import runs as run_flows
from service.flows import worker
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import database, events, run_lifecycle, runs
from service.store.run_status import RunStatus
from service.store.store import Store, open_store
from tests.conftest import Service
from tests.faults.tiny import TINY, undisturbed, weights
from tests.uploads.conftest import Asked

SECONDS_WITHOUT = 4.0
SLOWER = TINY | {"samples_per_epoch": 400, "batch_size": 4}


def test_a_locked_database_is_503_and_then_back(
    application: Callable[..., Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    server = application()
    body = {"json": TINY, "headers": {"Idempotency-Key": "k"}}
    with closing(sqlite3.connect(tmp_path / "camreel.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        refusal = server.ask("POST", "/runs", **body)
        assert (refusal.status_code, refusal.json()["type"]) == (503, "store-busy")
        assert int(refusal.headers["retry-after"]) > 0
        assert str(tmp_path) not in refusal.text
        assert server.ask("GET", "/runs").json()["items"] == []
        connection.execute("ROLLBACK")
    (run_id,) = {server.ask("POST", "/runs", **body).json()["id"] for _ in range(2)}
    assert server.ask("GET", f"/runs/{run_id}").json()["status"] == "succeeded"
    assert len(server.ask("GET", "/runs").json()["items"]) == 1


@pytest.fixture
def restarts(postgres_database) -> Iterator[Callable[[], None]]:
    """Ends all connections to the database but its own, as a server that restarts does."""
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
def test_a_server_that_ends_every_connection_is_503_then_back_and_runs_go_on(
    new_service: Callable[..., Service],
    empty_postgres: Callable[[], str],
    restarts: Callable[[], None],
) -> None:
    service = new_service(
        CAMREEL_DATABASE_URL=empty_postgres(),
        CAMREEL_LEASE_SECONDS="4",
        CAMREEL_MAX_ATTEMPTS="10",
        OMP_NUM_THREADS="1",
    )
    run_id = service.post_run(**SLOWER)
    service.wait(run_id, until=lambda run: run["epochs_done"] >= 0)
    back = threading.Event()

    def restart_for_a_while() -> None:
        while not back.wait(0.05):
            restarts()

    server = threading.Thread(target=restart_for_a_while)
    timer = threading.Timer(SECONDS_WITHOUT, back.set)
    server.start()
    timer.start()
    created, refusal_count = set(), 0
    try:
        while server.is_alive():
            answers = [
                service.http.get(f"/runs/{run_id}"),
                service.http.post("/runs", json=TINY, headers={"Idempotency-Key": "k"}),
            ]
            for answer in answers:
                assert answer.status_code in (200, 201, 503), answer.text
                if answer.status_code == 503:
                    refusal_count += 1
                    assert int(answer.headers["retry-after"]) > 0
                if answer.status_code == 201:
                    created.add(answer.json()["id"])
    finally:
        back.set()
        server.join()
    assert refusal_count
    again = service.http.post("/runs", json=TINY, headers={"Idempotency-Key": "k"})
    assert again.status_code == 201
    assert created | {again.json()["id"]} == {again.json()["id"]}
    assert len(service.http.get("/runs").json()["items"]) == 2
    for one_id, expected_weights in (
        (run_id, undisturbed(**SLOWER)),
        (again.json()["id"], undisturbed()),
    ):
        final_run = service.wait(one_id)
        assert final_run["status"] == "succeeded", final_run
        assert weights(service, one_id) == expected_weights


@pytest.mark.postgres
def test_who_was_stopped_in_its_transaction_keeps_nobody_from_writing_for_ever(
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

        def hold_the_row_and_stop() -> None:
            with stopped_writer.write_session() as session:
                assert run_lifecycle.advance(session, run_id, 0, lease=lease)
                with pytest.raises(StoreBusy), other_store.write_session() as waits:
                    run_lifecycle.update_heartbeat(waits, run_id, lease=lease)
                assert gone_on_within_ten_seconds()

        def gone_on_within_ten_seconds() -> bool:
            for _ in range(50):
                try:
                    with other_store.write_session() as session:
                        return run_lifecycle.requeue(session, lease, lost_workers=1)
                except StoreBusy:
                    continue
            return False

        with pytest.raises(StoreBusy):
            hold_the_row_and_stop()
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
    ("times", "told", "error"),
    [
        pytest.param(
            *(2, ["queued", "running"] * 3 + ["succeeded"], None), marks=pytest.mark.torture
        ),
        (3, ["queued", "running"] * 3 + ["failed"], "store_busy"),
    ],
)
def test_an_epoch_that_the_database_did_not_take_is_trained_by_another_worker(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, times, told, error
) -> None:
    fail_at_epoch_one(monkeypatch, StoreBusy("no answer"), times)
    spec = RunSpec.model_validate(TINY)
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    with store.read_session() as session:
        run = runs.get(session, run_id)
        event_rows = events.list_after(session, run_id, 0)
    assert [event.data["status"] for event in event_rows if event.type == events.STATUS] == told
    assert (run.error and run.error.type, run.attempt) == (error, 3)
    assert run.epochs_done == (0 if error else 3)


def test_last_words_that_did_not_fit_are_told_by_the_exit_code(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_epoch_one(monkeypatch, StoreFull("no room"), 3)
    finish = run_lifecycle.finish

    def find_no_room(
        session, run_id, status, *arguments, from_statuses=(RunStatus.RUNNING,), lease=None
    ) -> bool:
        # The worker's own words; who started it finds room again.
        if from_statuses == (RunStatus.RUNNING,):
            raise StoreFull("no room")
        return finish(session, run_id, status, *arguments, from_statuses=from_statuses, lease=lease)

    monkeypatch.setattr(run_lifecycle, "finish", find_no_room)
    spec = RunSpec.model_validate(TINY)
    run_id = run_flows.start_run(store, InlineExecutor(), workspace, spec).id
    with store.read_session() as session:
        run = runs.get(session, run_id)
    assert (run.status, run.error.type, run.epochs_done) == ("failed", "disk_full", 0)
