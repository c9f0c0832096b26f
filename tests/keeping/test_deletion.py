"""Deleting a run hides it at once; its space is freed in the background and after any failure."""

import time

import pytest
from sqlalchemy import event

from service.errors import RunNotFound
from service.flows import deletion
from service.flows.backup import back_up
from service.flows.deletion import BatchPacer, DeletedRunCleaner, delete_run
from service.flows.doctor.examination import examine
from service.flows.runs import start_run
from service.jobs.inline import InlineExecutor
from service.store import deleted_runs, disk_space, epochs, run_blobs, runs
from service.store.blobs import Blobs
from service.store.storage_quota import StorageLimits
from service.store.store import Store, open_store
from service.store_errors import StoreFull
from tests.keeping.conftest import SPEC, StateFolder, train


def blob_files(state_folder: StateFolder, run_id: int) -> list:
    return list((state_folder.folder / "blobs").rglob(f"runs/{run_id}/**/*.safetensors"))


def pending_run_ids(store: Store) -> list[int]:
    with store.read_session() as session:
        return deleted_runs.list_ids(session)


class SimulatedKill(BaseException):
    """Simulates SIGKILL."""


def free_until_killed(store: Store, batches: int) -> bool:
    """Frees space until killed after some batches; False if it finished first."""
    count = 0

    def count_commit(_: object) -> None:
        nonlocal count
        count += 1
        if count > batches:
            raise SimulatedKill

    event.listen(store.engine, "commit", count_commit)
    try:
        DeletedRunCleaner(store).free_space()
    except SimulatedKill:
        return True
    finally:
        event.remove(store.engine, "commit", count_commit)
    return False


def test_delete_hides_a_run_without_removing_rows_or_blobs(state_folder):
    with state_folder.open_store() as store:
        with store.read_session() as session:
            blobs = len(list(run_blobs.list_run_blobs(session)))
        delete_run(store, 1)
        with store.read_session() as session:
            assert len(list(run_blobs.list_run_blobs(session))) == blobs
            with pytest.raises(RunNotFound):
                runs.get(session, 1)
        with pytest.raises(RunNotFound):
            delete_run(store, 1)


@pytest.mark.parametrize("blob_type", [pytest.param("file", marks=pytest.mark.torture), "sql"])
def test_deletion_continues_after_a_kill_at_any_batch(state_folder, monkeypatch):
    monkeypatch.setattr(deletion, "MAX_PAGES", 1)
    monkeypatch.setattr(BatchPacer, "pages_per_batch", 1)
    other_run_id = train(state_folder, SPEC.model_copy(update={"seed": 1}))
    with state_folder.open_store() as store:
        with store.read_session() as session:
            expected = [epoch.checkpoint for epoch in epochs.list_epochs(session, other_run_id)]
        delete_run(store, 1)
    kills = 0
    while True:
        with state_folder.open_store() as store:
            if not free_until_killed(store, 4):
                break
            kills += 1
            # The remains of the run are hidden, and the store is consistent without them.
            with pytest.raises(RunNotFound), store.read_session() as session:
                runs.get(session, 1)
            assert {item.check for item in examine(store).findings} == {"deletions"}
    assert kills > 3
    with state_folder.open_store() as store:
        assert pending_run_ids(store) == []
        assert examine(store).findings == []
        assert blob_files(state_folder, 1) == []
        with store.read_session() as session:
            assert [
                epoch.checkpoint for epoch in epochs.list_epochs(session, other_run_id)
            ] == expected
            for checkpoint in expected:
                data = store.blobs.get(session, checkpoint.blob_key)
                assert len(data) == checkpoint.bytes


@pytest.mark.parametrize("blob_type", [pytest.param("file", marks=pytest.mark.torture), "sql"])
def test_two_processes_can_free_the_same_run(state_folder, monkeypatch):
    monkeypatch.setattr(deletion, "MAX_PAGES", 1)
    monkeypatch.setattr(BatchPacer, "pages_per_batch", 1)
    with state_folder.open_store() as store, state_folder.open_store() as other_store:
        delete_run(store, 1)
        cleaners = [DeletedRunCleaner(store), DeletedRunCleaner(other_store)]
        finished = [False, False]
        while not all(finished):
            # With no time left, each call frees one batch.
            finished = [cleaner.free_space(0) for cleaner in cleaners]
        assert pending_run_ids(store) == []
        assert examine(other_store).findings == []


def test_no_transaction_of_a_deletion_exceeds_its_bound(state_folder, monkeypatch):
    sizes = []
    delete_now = Blobs.delete_now

    def record_size(self, session, names):
        sizes.append(
            sum(blob.bytes for blob in run_blobs.list_run_blobs(session) if blob.key in names)
        )
        delete_now(self, session, names)

    monkeypatch.setattr(Blobs, "delete_now", record_size)
    monkeypatch.setattr(deletion, "BATCH_SECONDS", 1e9)  # only the size limits a batch
    with state_folder.open_store() as store:
        with store.read_session() as session:
            blob_sizes = [blob.bytes for blob in run_blobs.list_run_blobs(session)]
        bound_pages = max(blob_sizes) // deleted_runs.PAGE_BYTES + 1
        monkeypatch.setattr(deletion, "MAX_PAGES", bound_pages)
        delete_run(store, 1)
        DeletedRunCleaner(store, BatchPacer(bound_pages)).free_space()
    bound_bytes = bound_pages * deleted_runs.PAGE_BYTES
    assert sum(sizes) == sum(blob_sizes) > bound_bytes
    assert max(sizes) <= bound_bytes


def test_full_disk_only_delays_a_deletion(state_folder, monkeypatch):
    pages = []
    free_batch = deleted_runs.free_batch

    def fail_on_full_disk(session, blobs, run_id, count):
        pages.append(count)
        if len(pages) < 8 and count > deletion.MIN_PAGES:
            raise StoreFull("The disk that holds the database is full.")
        return free_batch(session, blobs, run_id, count)

    monkeypatch.setattr(deleted_runs, "free_batch", fail_on_full_disk)
    monkeypatch.setattr(deletion, "BATCH_SECONDS", 1e9)
    with state_folder.open_store() as store:
        delete_run(store, 1)
        DeletedRunCleaner(store, BatchPacer(512)).free_space()
        # Smaller transactions need smaller journals.
        assert pages[:2] == [512, deletion.MIN_PAGES]
        assert pending_run_ids(store) == []


def test_service_frees_deleted_runs_in_the_background(state_folder):
    with state_folder.client() as client:
        assert client.delete("/runs/1").status_code == 204
        assert client.get("/runs/1").status_code == 404
        assert client.get("/runs").json()["items"] == []
        assert client.delete("/runs/1").status_code == 404
        deadline = time.monotonic() + 30
        with state_folder.open_store() as store:
            while pending_run_ids(store):
                assert time.monotonic() < deadline
                time.sleep(0.1)
    assert state_folder.execute("SELECT count(*) FROM epochs") == [(0,)]
    assert blob_files(state_folder, 1) == []


def test_deleted_run_does_not_count_against_the_quota(state_folder):
    large = SPEC.model_copy(
        update={"architecture": type(SPEC.architecture)(channels=[4, 12]), "epochs": 2}
    )
    run_id = train(state_folder, large)
    with state_folder.open_store() as store, store.read_session() as session:
        used_bytes = store.quota.used_bytes(session)
    with open_store(
        state_folder.database, state_folder.blobs, StorageLimits(quota_bytes=used_bytes - 1)
    ) as store:
        with pytest.raises(StoreFull):
            start_run(store, InlineExecutor(), state_folder.workspace, SPEC)
        delete_run(store, run_id)
        start_run(store, InlineExecutor(), state_folder.workspace, SPEC)


def test_doctor_reports_a_run_that_is_not_freed_yet(state_folder):
    with state_folder.open_store() as store:
        delete_run(store, 1)
        examination = examine(store, repair=True)
        assert [(item.check, item.finding.run_id) for item in examination.findings] == [
            ("deletions", 1)
        ]
        assert examination.status == 1


def test_compact_frees_deleted_runs_first(state_folder):
    from service.cli import storage
    from service.settings import Settings

    with state_folder.open_store() as store:
        delete_run(store, 1)
    storage.compact(
        Settings(_env_file=None, state_dir=state_folder.folder, blobs=state_folder.blobs)
    )
    with state_folder.open_store() as store:
        assert pending_run_ids(store) == []
        with store.read_session() as session:
            assert disk_space.database_bytes(session) < 400_000


def test_backup_omits_blob_files_of_deleted_runs(trained, state_folder, tmp_path):
    other_run_id = train(state_folder, SPEC.model_copy(update={"seed": 1}))
    with state_folder.open_store() as store:
        delete_run(store, 1)
        back_up(store, tmp_path / "copy")
    if state_folder.blob_type == "file":
        run_folders = {
            file.parts[-3] for file in (tmp_path / "copy" / "blobs").rglob("*.safetensors")
        }
        assert run_folders == {str(other_run_id)}
