"""Space of deleted runs is freed, and the store stays within its limits."""

import sqlite3
from contextlib import closing

import pytest

from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.runs import start_run
from service.jobs.inline import InlineExecutor
from service.store import disk_space, epochs, runs, training_states
from service.store.storage_quota import StorageLimits
from service.store.store import open_store
from tests.keeping.conftest import SPEC, StateFolder, train

LARGE = SPEC.model_copy(
    update={"architecture": type(SPEC.architecture)(channels=[4, 12]), "epochs": 2}
)


def size(state_folder: StateFolder) -> int:
    """Bytes of the database and the blobs on disk."""
    return sum(path.stat().st_size for path in state_folder.folder.rglob("*") if path.is_file())


def pragma(state_folder: StateFolder, name: str) -> int:
    with closing(sqlite3.connect(state_folder.file)) as database:
        return database.execute(f"PRAGMA {name}").fetchone()[0]


def test_deleting_a_run_returns_space_to_the_disk(state_folder):
    with state_folder.open_store() as store:
        disk_space.incremental_vacuum(store.engine, 10_000)
    initial_size = size(state_folder)
    run_id = train(state_folder, LARGE)
    size_with_run = size(state_folder)
    with state_folder.open_store() as store:
        with store.read_session() as session:
            run_bytes = sum(e.checkpoint.bytes for e in epochs.list_epochs(session, run_id))
        assert size_with_run > initial_size + run_bytes > initial_size
        delete_run(store, run_id)
        DeletedRunCleaner(store).free_space()
        # A few index pages remain, but no checkpoint.
        assert size(state_folder) < initial_size + run_bytes // 20
        assert pragma(state_folder, "freelist_count") == 0
        assert not list((state_folder.folder / "blobs").rglob(f"runs/{run_id}/*"))
    assert pragma(state_folder, "integrity_check") == "ok"
    assert state_folder.checkpoint_bytes(3)


def test_older_database_returns_space_after_it_was_compacted(trained, tmp_path):
    state_folder = StateFolder(tmp_path, "sql")
    with closing(sqlite3.connect(trained["sql"].file)) as connection:
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute(f"VACUUM INTO '{state_folder.file}'")
    assert pragma(state_folder, "auto_vacuum") == 0
    run_id = train(state_folder, LARGE)
    with state_folder.open_store() as store:
        delete_run(store, run_id)
        DeletedRunCleaner(store).free_space()
        assert pragma(state_folder, "freelist_count") > 100
        disk_space.compact(store.engine)
    assert (pragma(state_folder, "auto_vacuum"), pragma(state_folder, "freelist_count")) == (2, 0)
    assert state_folder.checkpoint_bytes(3)


def open_limited_store(state_folder: StateFolder, **bounds: int):
    return open_store(state_folder.database, state_folder.blobs, StorageLimits(**bounds))


def used_bytes(state_folder: StateFolder) -> int:
    with state_folder.open_store() as store, store.read_session() as session:
        return store.quota.used_bytes(session)


def test_the_quota_counts_the_database_and_the_checkpoints(state_folder):
    with state_folder.open_store() as store, store.read_session() as session:
        total, _, checkpoints = epochs.count_totals(session)
        state = training_states.get(session, 1)
    assert total == 4
    assert state is not None
    pages = pragma(state_folder, "page_count") - pragma(state_folder, "freelist_count")
    blobs = checkpoints + state.bytes if state_folder.blob_type == "file" else 0
    assert used_bytes(state_folder) == pages * pragma(state_folder, "page_size") + blobs


@pytest.mark.parametrize("bound", [{"quota_bytes": 1000}, {"min_free_bytes": 2**60}])
def test_beyond_a_limit_writes_are_507_and_reads_succeed(state_folder, bound):
    with state_folder.client(**bound) as client:
        response = client.post("/runs", json={"dataset": "digits", "epochs": 1})
        assert response.status_code == 507, response.text
        assert response.json()["type"] == "store-full"
        assert str(state_folder.folder) not in response.text
        assert len(client.get("/runs").json()["items"]) == 1
        assert client.get("/runs/1/epochs/2/cam", params={"method": "layer-cam"}).is_success
        assert client.delete("/runs/1").status_code == 204


def test_run_that_reaches_the_quota_fails_with_disk_full_and_keeps_its_epochs(state_folder):
    spec = LARGE.model_copy(update={"epochs": 50})
    bounds = StorageLimits(quota_bytes=used_bytes(state_folder) + 2_500_000)
    workspace = type(state_folder.workspace)(
        state_folder.database, state_folder.blobs, state_folder.folder, bounds=bounds
    )
    with open_store(state_folder.database, state_folder.blobs, bounds) as store:
        run = start_run(store, InlineExecutor(), workspace, spec)
        with store.read_session() as session:
            run = runs.get(session, run.id)
            run_epochs = epochs.list_epochs(session, run.id)
        assert (run.status, run.error.type) == ("failed", "disk_full")
        assert "CAMREEL_QUOTA_BYTES" in run.error.detail
        assert 0 < len(run_epochs) < 20
        assert run.epochs_done == len(run_epochs) - 1
    assert used_bytes(state_folder) <= bounds.quota_bytes
    assert state_folder.checkpoint_bytes(run.epochs_done, run.id)
