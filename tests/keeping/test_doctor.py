"""The doctor detects damage to a store and repairs what it can; backups are complete."""

import os
import sqlite3
import threading
from contextlib import closing

import pytest

from service.errors import BackupRefused, FileRefused
from service.flows.backup import back_up
from service.flows.checkpoints import Damage
from service.flows.doctor import checks
from service.flows.doctor.examination import examine
from service.store import epochs, runs
from tests.keeping.conftest import StateFolder, train


def check(state_folder: StateFolder, *, repair: bool = False) -> tuple[int, set[str]]:
    with state_folder.open_store() as store:
        examination = examine(store, repair=repair)
    return examination.status, {item.check for item in examination.findings}


def orphan(state_folder: StateFolder) -> None:
    with state_folder.open_store() as store, store.write_session() as session:
        store.blobs.put(session, "runs/77/epochs/0.safetensors", b"left")
    for path in (state_folder.folder / "blobs").rglob("*"):
        os.utime(path, (0, 0))


def lose_worker(state_folder: StateFolder) -> None:
    with state_folder.open_store() as store, store.write_session() as session:
        run = runs.create(session, "", [], runs.get(session, 1).spec, 1)
    state_folder.execute(f"UPDATE runs SET status = 'running' WHERE id = {run.id}")


DAMAGE = {
    "bad-checkpoint": (lambda p: p.replace_checkpoint(1, b"bad"), "checkpoints", 2, 1),
    "missing-checkpoint": (lambda p: p.replace_checkpoint(1, None), "checkpoints", 2, 1),
    "epochs-done": (lambda p: p.execute("UPDATE runs SET epochs_done = 1"), "epochs", 2, 0),
    "orphan": (orphan, "blobs", 1, 0),
    "lost-worker": (lose_worker, "lost-runs", 1, 0),
    "image": (lambda p: p.execute("UPDATE images SET png = x'00' WHERE id = 1"), "images", 2, 2),
    "newer-schema": (
        lambda p: p.execute("UPDATE alembic_version SET version_num = '9999'"), "schema", 2, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_detected_and_repaired(state_folder, kind):
    damage, name, initial_status, final_status = DAMAGE[kind]
    assert check(state_folder) == (0, set())
    damage(state_folder)
    assert check(state_folder) == (initial_status, {name})
    assert check(state_folder) == (initial_status, {name}), "an examination changes nothing"
    repair_status, _ = check(state_folder, repair=True)
    assert repair_status == (2 if final_status == 2 else 1)
    assert check(state_folder)[0] == final_status


@pytest.fixture(autouse=True)
def disable_watch(monkeypatch) -> None:
    monkeypatch.setattr(checks, "WATCH_SECONDS", 0)


@pytest.mark.parametrize("moment", ["2000-01-01 00:00:00", "2100-01-01 00:00:00"])
def test_run_with_advancing_heartbeats_is_not_lost_at_any_clock_time(
    state_folder, monkeypatch, moment
):
    lose_worker(state_folder)
    start = f"UPDATE runs SET heartbeat_at = '{moment}', attempt = 1 WHERE status = 'running'"
    state_folder.execute(start)
    heartbeat = "UPDATE runs SET heartbeats = heartbeats + 1 WHERE status = 'running'"
    with monkeypatch.context() as patched:
        patched.setattr(checks.time, "sleep", lambda _: state_folder.execute(heartbeat))
        assert check(state_folder, repair=True) == (0, set())
    assert check(state_folder) == (1, {"lost-runs"})


def overwrite_table(state_folder: StateFolder, table: str) -> None:
    """Overwrites the first page of a table, like a disk that loses a block."""
    with closing(sqlite3.connect(state_folder.file)) as database:
        ((size,),) = database.execute("PRAGMA page_size").fetchall()
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = database.execute(query, [table]).fetchall()
    with state_folder.file.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_damaged_file_is_reported_and_not_written_to(state_folder):
    lose_worker(state_folder)  # which a repair would fix
    overwrite_table(state_folder, "epochs")
    status, checks = check(state_folder, repair=True)
    assert (status, {"integrity", "epochs", "lost-runs"} <= checks) == (2, True)
    query = "SELECT count(*) FROM runs WHERE status = 'running'"
    with closing(sqlite3.connect(state_folder.file)) as database:
        assert database.execute(query).fetchall() == [(1,)]


def test_request_to_a_damaged_file_is_500_store_damaged(state_folder):
    overwrite_table(state_folder, "epochs")
    with state_folder.client() as client:
        response = client.get("/runs/1/epochs")
        assert (response.status_code, response.json()["type"]) == (500, "store-damaged")
        assert "camreel doctor" in response.json()["detail"]
        assert str(state_folder.folder) not in response.text
        assert client.get("/datasets").status_code == 200


def test_missing_epoch_cannot_be_repaired(state_folder):
    state_folder.execute("DELETE FROM checkpoints WHERE epoch = 1")
    status, names = check(state_folder, repair=True)
    assert status == 2
    assert "epochs" in names


def test_intact_checkpoint_is_released_from_quarantine(state_folder):
    with state_folder.open_store() as store, store.write_session() as session:
        epochs.quarantine(session, 1, 2, Damage.MISSING)
    assert check(state_folder, repair=True) == (1, {"checkpoints"})
    assert check(state_folder) == (0, set())


def test_unfinished_write_is_not_removed(trained, blob_type, state_folder):
    if blob_type == "file":
        (state_folder.folder / "blobs" / ".new-abc").write_bytes(b"half")
    assert check(state_folder, repair=True) == (0, set())


def test_backup_during_training_is_complete(state_folder, tmp_path):
    # Training in a thread commits while the copy is made.
    training = threading.Thread(target=train, args=(state_folder,))
    training.start()
    backup = tmp_path / "backup"
    with state_folder.open_store() as store:
        back_up(store, backup)
    training.join()
    copy = tmp_path / "copy"
    if state_folder.blob_type == "file":
        backup.rename(copy)
    else:
        copy.mkdir()
        backup.rename(copy / "camreel.db")
    restored = StateFolder(copy, state_folder.blob_type)
    status, names = check(restored)
    assert (status, names - {"lost-runs"}) == (0, set()) or names <= {"lost-runs"}
    assert [restored.checkpoint_bytes(epoch) for epoch in range(4)] == [
        state_folder.checkpoint_bytes(epoch) for epoch in range(4)
    ]


def test_backup_overwrites_nothing_and_refuses_bad_checkpoints(state_folder, tmp_path):
    backup = tmp_path / "backup"
    state_folder.replace_checkpoint(2, b"bad")
    with state_folder.open_store() as store:
        with pytest.raises(BackupRefused, match="run 1, epoch 2"):
            back_up(store, backup)
        backup.write_text("mine")
        with pytest.raises(FileRefused, match="exists already"):
            back_up(store, backup)
    assert backup.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"backup", "state"}
