"""A blob store without a local folder: quota, backup, doctor, export and deletion."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from service.core.checkpoints import digest
from service.errors import BackupRefused
from service.flows.backup import back_up
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.doctor.examination import examine
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.store import epochs, readiness, run_blobs, schema
from service.store.blobs import BLOB_STORES
from service.store.blobs.file import FileBlobs
from service.store.run_blobs import RunBlob
from service.store.storage_quota import StorageLimits
from service.store.store import Store, open_store
from service.store_errors import StoreFull
from tests.keeping.conftest import StateFolder, train
from tests.remote_blobs import BUCKETS, RemoteBlobs, RemoteObject


@pytest.fixture(scope="module", autouse=True)
def remote_store_type() -> Iterator[None]:
    """Registers `remote:<bucket>` as a setting, like a new entry of the table."""
    with pytest.MonkeyPatch.context() as patch:
        entry = BLOB_STORES["file"]._replace(argument="<bucket>", open=RemoteBlobs)
        patch.setitem(BLOB_STORES, "remote", entry)
        yield


class RemoteStateFolder(StateFolder):
    @property
    def blobs(self) -> str:
        return f"remote:{self.folder.name}"

    @property
    def bucket(self) -> dict[str, RemoteObject]:
        return BUCKETS[self.folder.name]


@pytest.fixture(scope="module")
def trained_remote(remote_store_type, tmp_path_factory) -> RemoteStateFolder:
    """A run whose blobs are in a bucket; copied, never changed."""
    state_folder = RemoteStateFolder(tmp_path_factory.mktemp("trained-remote"), "remote")
    train(state_folder)
    return state_folder


@pytest.fixture
def state_folder(trained_remote, tmp_path) -> Iterator[RemoteStateFolder]:
    folder = tmp_path / f"state-{tmp_path.parent.name}-{tmp_path.name}"
    shutil.copytree(trained_remote.folder, folder)
    state_folder = replace(trained_remote, folder=folder)
    state_folder.bucket.update(trained_remote.bucket)
    yield state_folder
    state_folder.bucket.clear()


def list_run_blobs(store: Store) -> list[RunBlob]:
    with store.read_session() as session:
        return list(run_blobs.list_run_blobs(session))


def read_blobs(store: Store) -> dict[str, bytes]:
    with store.read_session() as session:
        return {blob.key: store.blobs.get(session, blob.key) for blob in list_run_blobs(store)}


def test_remote_blobs_are_outside_the_database(state_folder, store):
    assert store.blobs.is_external
    assert sorted(state_folder.bucket) == sorted(blob.key for blob in list_run_blobs(store))
    assert state_folder.execute("SELECT count(*) FROM blobs") == [(0,)]
    assert not [path for path in state_folder.folder.iterdir() if path.name == "blobs"]
    readiness.check(store)


def test_remote_bytes_count_against_the_quota(state_folder, store):
    with store.read_session() as session:
        used_bytes = store.quota.used_bytes(session)
    database_bytes = state_folder.execute("SELECT (SELECT * FROM pragma_page_count) * 4096")[0][0]
    assert used_bytes >= sum(blob.bytes for blob in list_run_blobs(store))
    assert used_bytes - sum(blob.bytes for blob in list_run_blobs(store)) <= database_bytes
    limits = StorageLimits(quota_bytes=used_bytes + 9)
    with open_store(state_folder.database, state_folder.blobs, limits) as bounded:
        with bounded.write_session() as session:
            bounded.blobs.put(session, "runs/9/epochs/0.safetensors", b"123456789")
        with bounded.write_session() as session, pytest.raises(StoreFull):
            bounded.blobs.put(session, "runs/9/epochs/1.safetensors", b"1234567890")
    assert "runs/9/epochs/1.safetensors" not in state_folder.bucket


def test_backup_copies_remote_blobs_into_its_folder(state_folder, store, tmp_path):
    backup = tmp_path / "backup"
    back_up(store, backup)
    blobs = FileBlobs(backup / "blobs")
    assert {blob.name for blob in blobs.list_blobs()} == set(state_folder.bucket)
    with open_store(backup / "camreel.db", f"file:{backup / 'blobs'}") as copy:
        assert read_blobs(copy) == read_blobs(store)
        assert examine(copy).status == 0


def test_backup_without_all_remote_blobs_is_refused(state_folder, store, tmp_path):
    with store.read_session() as session:
        del state_folder.bucket[epochs.get(session, 1, 2).checkpoint.blob_key]
    with pytest.raises(BackupRefused, match="run 1, epoch 2"):
        back_up(store, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_doctor_examines_remote_blobs_and_deletes_orphans(state_folder, store):
    assert examine(store).status == 0
    with store.read_session() as session:
        key = epochs.get(session, 1, 1).checkpoint.blob_key
    state_folder.bucket["runs/7/epochs/0.safetensors"] = RemoteObject(b"orphan", 0.0)
    state_folder.bucket[key] = RemoteObject(state_folder.bucket[key].data[:-1], 0.0)
    assert examine(store).status == 2
    assert examine(store, repair=True).status == 1
    assert "runs/7/epochs/0.safetensors" not in state_folder.bucket
    with store.read_session() as session:
        assert epochs.get(session, 1, 1).quarantine_reason == "truncated"


def test_run_is_transferred_between_remote_blobs_and_a_database(state_folder, store, tmp_path):
    export_run(store, 1, tmp_path / "run.camreel")
    other_state_folder = StateFolder(tmp_path / "other", "sql")
    with other_state_folder.open_store() as other_store:
        schema.ensure(other_store)
        run_id = import_run(other_store, tmp_path / "run.camreel").id
        assert [digest(data) for data in read_blobs(other_store).values()] == [
            digest(data) for data in read_blobs(store).values()
        ]
        export_run(other_store, run_id, tmp_path / "back.camreel")
    imported_id = import_run(store, tmp_path / "back.camreel").id
    with store.read_session() as session:
        assert len(epochs.list_epochs(session, imported_id)) == 4


def test_deletion_frees_remote_blobs(state_folder, store):
    delete_run(store, 1)
    DeletedRunCleaner(store).free_space()
    assert state_folder.bucket == {}


def test_blobs_that_cannot_be_deleted_after_the_commit_remain(state_folder, store, monkeypatch):
    key = next(iter(state_folder.bucket))
    with store.write_session() as session:
        store.blobs.delete(session, [key])
        assert key in state_folder.bucket  # until the commit
        monkeypatch.setattr(RemoteBlobs, "is_reachable", False)
    monkeypatch.undo()
    assert key in state_folder.bucket


def test_rolled_back_transaction_deletes_no_remote_blob(state_folder, store: Store):
    key = next(iter(state_folder.bucket))
    with suppress(ZeroDivisionError), store.write_session() as session:
        store.blobs.delete(session, [key])
        raise ZeroDivisionError
    assert key in state_folder.bucket
