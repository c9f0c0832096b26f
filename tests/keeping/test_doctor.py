"""The doctor finds what was done to a store, and mends what can be mended; backups are whole."""

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
        examined = examine(store, repair=repair)
    return examined.status, {one.check for one in examined.findings}


def orphan(state_folder: StateFolder) -> None:
    with state_folder.open_store() as store, store.write_session() as session:
        store.blobs.put(session, "runs/77/epochs/0.safetensors", b"left")
    for path in (state_folder.folder / "blobs").rglob("*"):
        os.utime(path, (0, 0))


def lose_worker(state_folder: StateFolder) -> None:
    with state_folder.open_store() as store, store.write_session() as session:
        run = runs.create(session, "", [], runs.get(session, 1).spec, 1)
    state_folder.execute(f"UPDATE runs SET status = 'running' WHERE id = {run.id}")


HARM = {
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


@pytest.mark.parametrize("harm", HARM)
def test_what_was_done_is_found_and_mended(state_folder, harm):
    do, name, before, after = HARM[harm]
    assert check(state_folder) == (0, set())
    do(state_folder)
    assert check(state_folder) == (before, {name})
    assert check(state_folder) == (before, {name}), "looking changes nothing"
    mended, _ = check(state_folder, repair=True)
    assert mended == (2 if after == 2 else 1)
    assert check(state_folder)[0] == after


@pytest.fixture(autouse=True)
def no_watch(monkeypatch) -> None:
    monkeypatch.setattr(checks, "WATCH_SECONDS", 0)


@pytest.mark.parametrize("moment", ["2000-01-01 00:00:00", "2100-01-01 00:00:00"])
def test_a_run_whose_heartbeats_move_is_not_lost_whatever_the_clock_says(
    state_folder, monkeypatch, moment
):
    lose_worker(state_folder)
    stored = f"UPDATE runs SET heartbeat_at = '{moment}', attempt = 1 WHERE status = 'running'"
    state_folder.execute(stored)
    beats = "UPDATE runs SET heartbeats = heartbeats + 1 WHERE status = 'running'"
    with monkeypatch.context() as patched:
        patched.setattr(checks.time, "sleep", lambda _: state_folder.execute(beats))
        assert check(state_folder, repair=True) == (0, set())
    assert check(state_folder) == (1, {"lost-runs"})


def overwrite(state_folder: StateFolder, table: str) -> None:
    """The first page of a table, as a disk does that loses a block."""
    with closing(sqlite3.connect(state_folder.file)) as database:
        ((size,),) = database.execute("PRAGMA page_size").fetchall()
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = database.execute(query, [table]).fetchall()
    with state_folder.file.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_damaged_file_is_told_and_nothing_more_is_written_to_it(state_folder):
    lose_worker(state_folder)  # which a repair would mend
    overwrite(state_folder, "epochs")
    status, told = check(state_folder, repair=True)
    assert (status, {"integrity", "epochs", "lost-runs"} <= told) == (2, True)
    query = "SELECT count(*) FROM runs WHERE status = 'running'"
    with closing(sqlite3.connect(state_folder.file)) as database:
        assert database.execute(query).fetchall() == [(1,)]


def test_a_damaged_file_is_a_clear_answer(state_folder):
    overwrite(state_folder, "epochs")
    with state_folder.client() as client:
        answer = client.get("/runs/1/epochs")
        assert (answer.status_code, answer.json()["type"]) == (500, "store-damaged")
        assert "camreel doctor" in answer.json()["detail"]
        assert str(state_folder.folder) not in answer.text
        assert client.get("/datasets").status_code == 200


def test_a_hole_is_damage_that_stays(state_folder):
    state_folder.execute("DELETE FROM checkpoints WHERE epoch = 1")
    status, names = check(state_folder, repair=True)
    assert status == 2
    assert "epochs" in names


def test_a_checkpoint_that_is_whole_again_is_released(state_folder):
    with state_folder.open_store() as store, store.write_session() as session:
        epochs.quarantine(session, 1, 2, Damage.MISSING)
    assert check(state_folder, repair=True) == (1, {"checkpoints"})
    assert check(state_folder) == (0, set())


def test_a_write_that_is_under_way_is_left_alone(trained, blob_type, state_folder):
    if blob_type == "file":
        (state_folder.folder / "blobs" / ".new-abc").write_bytes(b"half")
    assert check(state_folder, repair=True) == (0, set())


def test_a_backup_of_a_store_that_trains_is_whole(state_folder, tmp_path):
    # Spec of more epochs, in a thread: commits go on while the copy is made.
    spec_run = threading.Thread(target=train, args=(state_folder,))
    spec_run.start()
    out = tmp_path / "backup"
    with state_folder.open_store() as store:
        back_up(store, out)
    spec_run.join()
    copy = tmp_path / "copy"
    if state_folder.blob_type == "file":
        out.rename(copy)
    else:
        copy.mkdir()
        out.rename(copy / "camreel.db")
    restored = StateFolder(copy, state_folder.blob_type)
    status, names = check(restored)
    assert (status, names - {"lost-runs"}) == (0, set()) or names <= {"lost-runs"}
    assert [restored.bytes_of(epoch) for epoch in range(4)] == [
        state_folder.bytes_of(epoch) for epoch in range(4)
    ]


def test_a_backup_writes_over_nothing_and_takes_nothing_bad(state_folder, tmp_path):
    out = tmp_path / "backup"
    state_folder.replace_checkpoint(2, b"bad")
    with state_folder.open_store() as store:
        with pytest.raises(BackupRefused, match="run 1, epoch 2"):
            back_up(store, out)
        out.write_text("mine")
        with pytest.raises(FileRefused, match="exists already"):
            back_up(store, out)
    assert out.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"backup", "state"}
