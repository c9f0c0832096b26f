"""Deleting a run hides it at once; freeing its space keeps nobody waiting and survives anything."""

import time

import pytest
from sqlalchemy import event

from service.errors import RunNotFound, StoreFull
from service.flows import deletion
from service.flows.backup import back_up
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.doctor.examination import examine
from service.flows.runs import start_run
from service.jobs.inline import InlineExecutor
from service.store import deleted_runs, disk_space, epochs, run_blobs, runs
from service.store.blobs import Blobs
from service.store.storage_quota import StorageLimits
from service.store.store import Store, open_store
from tests.keeping.conftest import SPEC, StateFolder, train


def blob_files(state_folder: StateFolder, run_id: int) -> list:
    return list((state_folder.folder / "blobs").rglob(f"runs/{run_id}/**/*.safetensors"))


def pending(store: Store) -> list[int]:
    with store.read_session() as session:
        return deleted_runs.list_ids(session)


class Killed(BaseException):
    """In place of SIGKILL."""


def free_and_die_after(store: Store, batches: int) -> bool:
    """Whether the deletion was not done by then."""
    count = 0

    def die_in_time(_: object) -> None:
        nonlocal count
        count += 1
        if count > batches:
            raise Killed

    event.listen(store.engine, "commit", die_in_time)
    try:
        DeletedRunCleaner(store).free_space()
    except Killed:
        return True
    finally:
        event.remove(store.engine, "commit", die_in_time)
    return False


def test_a_delete_removes_no_row_and_no_blob_while_the_client_waits(state_folder):
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
def test_a_deletion_that_dies_after_any_batch_goes_on(state_folder, monkeypatch):
    monkeypatch.setattr(deletion, "MAX_PAGES", 1)
    monkeypatch.setattr(DeletedRunCleaner, "_pages_per_batch", 1)
    other = train(state_folder, SPEC.model_copy(update={"seed": 1}))
    with state_folder.open_store() as store:
        with store.read_session() as session:
            expected = [epoch.checkpoint for epoch in epochs.list_epochs(session, other)]
        delete_run(store, 1)
    deaths = 0
    while True:
        with state_folder.open_store() as store:
            if not free_and_die_after(store, 4):
                break
            deaths += 1
            # Whatever is left of the run is hidden, and the store is whole without it.
            with pytest.raises(RunNotFound), store.read_session() as session:
                runs.get(session, 1)
            assert {one.check for one in examine(store).findings} == {"deletions"}
    assert deaths > 3
    with state_folder.open_store() as store:
        assert pending(store) == []
        assert examine(store).findings == []
        assert blob_files(state_folder, 1) == []
        with store.read_session() as session:
            assert [epoch.checkpoint for epoch in epochs.list_epochs(session, other)] == expected
            for one in expected:
                assert len(store.blobs.get(session, one.blob_key)) == one.bytes


@pytest.mark.parametrize("blob_type", [pytest.param("file", marks=pytest.mark.torture), "sql"])
def test_two_processes_may_free_the_same_run(state_folder, monkeypatch):
    monkeypatch.setattr(deletion, "MAX_PAGES", 1)
    monkeypatch.setattr(DeletedRunCleaner, "_pages_per_batch", 1)
    with state_folder.open_store() as one, state_folder.open_store() as other:
        delete_run(one, 1)
        both = [DeletedRunCleaner(one), DeletedRunCleaner(other)]
        done = [False, False]
        while not all(done):
            # No time at all: a batch each.
            done = [freeing.free_space(0) for freeing in both]
        assert pending(one) == []
        assert examine(other).findings == []


def test_no_transaction_of_a_deletion_frees_more_than_its_bound(state_folder, monkeypatch):
    sizes = []
    sweep = Blobs.delete_now

    def measured(self, session, names):
        sizes.append(
            sum(blob.bytes for blob in run_blobs.list_run_blobs(session) if blob.key in names)
        )
        sweep(self, session, names)

    monkeypatch.setattr(Blobs, "delete_now", measured)
    monkeypatch.setattr(deletion, "BATCH_SECONDS", 1e9)  # the bound alone
    with state_folder.open_store() as store:
        with store.read_session() as session:
            blob_sizes = [blob.bytes for blob in run_blobs.list_run_blobs(session)]
        bound_pages = max(blob_sizes) // deleted_runs.PAGE_BYTES + 1
        monkeypatch.setattr(deletion, "MAX_PAGES", bound_pages)
        delete_run(store, 1)
        DeletedRunCleaner(store, bound_pages).free_space()
    bound_bytes = bound_pages * deleted_runs.PAGE_BYTES
    assert sum(sizes) == sum(blob_sizes) > bound_bytes
    assert max(sizes) <= bound_bytes


def test_a_full_disk_delays_a_deletion_and_does_not_end_it(state_folder, monkeypatch):
    pages = []
    free_batch = deleted_runs.free_batch

    def full_disk(session, blobs, run_id, count):
        pages.append(count)
        if len(pages) < 8 and count > deletion.MIN_PAGES:
            raise StoreFull("The disk that holds the database is full.")
        return free_batch(session, blobs, run_id, count)

    monkeypatch.setattr(deleted_runs, "free_batch", full_disk)
    monkeypatch.setattr(deletion, "BATCH_SECONDS", 1e9)
    with state_folder.open_store() as store:
        delete_run(store, 1)
        DeletedRunCleaner(store, 512).free_space()
        # Smaller transactions need smaller journals.
        assert pages[:2] == [512, deletion.MIN_PAGES]
        assert pending(store) == []


def test_a_service_frees_in_the_background_what_was_deleted(state_folder):
    with state_folder.client() as client:
        assert client.delete("/runs/1").status_code == 204
        assert client.get("/runs/1").status_code == 404
        assert client.get("/runs").json()["items"] == []
        assert client.delete("/runs/1").status_code == 404
        deadline = time.monotonic() + 30
        with state_folder.open_store() as store:
            while pending(store):
                assert time.monotonic() < deadline
                time.sleep(0.1)
    assert state_folder.execute("SELECT count(*) FROM epochs") == [(0,)]
    assert blob_files(state_folder, 1) == []


def test_a_quota_has_room_as_soon_as_a_run_is_deleted(state_folder):
    large = SPEC.model_copy(
        update={"architecture": type(SPEC.architecture)(channels=[4, 12]), "epochs": 2}
    )
    run_id = train(state_folder, large)
    with state_folder.open_store() as store, store.read_session() as session:
        used = store.quota.used_bytes(session)
    with open_store(
        state_folder.database, state_folder.blobs, StorageLimits(quota_bytes=used - 1)
    ) as store:
        with pytest.raises(StoreFull):
            start_run(store, InlineExecutor(), state_folder.workspace, SPEC)
        delete_run(store, run_id)
        start_run(store, InlineExecutor(), state_folder.workspace, SPEC)


def test_the_doctor_names_a_run_that_is_not_freed_yet(state_folder):
    with state_folder.open_store() as store:
        delete_run(store, 1)
        examined = examine(store, repair=True)
        assert [(one.check, one.finding.run_id) for one in examined.findings] == [("deletions", 1)]
        assert examined.status == 1


def test_compact_frees_deleted_runs_first(state_folder):
    from service.cli import storage
    from service.settings import Settings

    with state_folder.open_store() as store:
        delete_run(store, 1)
    storage.compact(
        Settings(_env_file=None, state_dir=state_folder.folder, blobs=state_folder.blobs)
    )
    with state_folder.open_store() as store:
        assert pending(store) == []
        with store.read_session() as session:
            assert disk_space.database_bytes(session) < 400_000


def test_a_backup_leaves_out_the_blob_files_of_deleted_runs(trained, state_folder, tmp_path):
    other = train(state_folder, SPEC.model_copy(update={"seed": 1}))
    with state_folder.open_store() as store:
        delete_run(store, 1)
        back_up(store, tmp_path / "copy")
    if state_folder.blob_type == "file":
        copied = {file.parts[-3] for file in (tmp_path / "copy" / "blobs").rglob("*.safetensors")}
        assert copied == {str(other)}
