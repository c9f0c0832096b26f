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
from tests.keeping.conftest import Place, train


def check(place: Place, *, repair: bool = False) -> tuple[int, set[str]]:
    with place.opened() as store:
        examined = examine(store, repair=repair)
    return examined.status, {one.check for one in examined.findings}


def orphan(place: Place) -> None:
    with place.opened() as store, store.write_session() as session:
        store.blobs.put(session, "runs/77/epochs/0.safetensors", b"left")
    for path in (place.folder / "blobs").rglob("*"):
        os.utime(path, (0, 0))


def lose_worker(place: Place) -> None:
    with place.opened() as store, store.write_session() as session:
        run = runs.create(session, "", [], runs.get(session, 1).spec, 1)
    place.execute(f"UPDATE runs SET status = 'running' WHERE id = {run.id}")


HARM = {
    "bad-checkpoint": (lambda p: p.put(1, b"bad"), "checkpoints", 2, 1),
    "missing-checkpoint": (lambda p: p.put(1, None), "checkpoints", 2, 1),
    "epochs-done": (lambda p: p.execute("UPDATE runs SET epochs_done = 1"), "epochs", 2, 0),
    "orphan": (orphan, "blobs", 1, 0),
    "lost-worker": (lose_worker, "lost-runs", 1, 0),
    "image": (lambda p: p.execute("UPDATE images SET png = x'00' WHERE id = 1"), "images", 2, 2),
    "newer-schema": (
        lambda p: p.execute("UPDATE alembic_version SET version_num = '9999'"), "schema", 2, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_what_was_done_is_found_and_mended(place, harm):
    do, name, before, after = HARM[harm]
    assert check(place) == (0, set())
    do(place)
    assert check(place) == (before, {name})
    assert check(place) == (before, {name}), "looking changes nothing"
    mended, _ = check(place, repair=True)
    assert mended == (2 if after == 2 else 1)
    assert check(place)[0] == after


@pytest.fixture(autouse=True)
def no_watch(monkeypatch) -> None:
    monkeypatch.setattr(checks, "WATCH_SECONDS", 0)


@pytest.mark.parametrize("moment", ["2000-01-01 00:00:00", "2100-01-01 00:00:00"])
def test_a_run_whose_heartbeats_move_is_not_lost_whatever_the_clock_says(
    place, monkeypatch, moment
):
    lose_worker(place)
    stored = f"UPDATE runs SET heartbeat_at = '{moment}', attempt = 1 WHERE status = 'running'"
    place.execute(stored)
    beats = "UPDATE runs SET heartbeats = heartbeats + 1 WHERE status = 'running'"
    with monkeypatch.context() as patched:
        patched.setattr(checks.time, "sleep", lambda _: place.execute(beats))
        assert check(place, repair=True) == (0, set())
    assert check(place) == (1, {"lost-runs"})


def overwrite(place: Place, table: str) -> None:
    """The first page of a table, as a disk does that loses a block."""
    with closing(sqlite3.connect(place.file)) as database:
        ((size,),) = database.execute("PRAGMA page_size").fetchall()
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = database.execute(query, [table]).fetchall()
    with place.file.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_damaged_file_is_told_and_nothing_more_is_written_to_it(place):
    lose_worker(place)  # which a repair would mend
    overwrite(place, "epochs")
    status, told = check(place, repair=True)
    assert (status, {"integrity", "epochs", "lost-runs"} <= told) == (2, True)
    query = "SELECT count(*) FROM runs WHERE status = 'running'"
    with closing(sqlite3.connect(place.file)) as database:
        assert database.execute(query).fetchall() == [(1,)]


def test_a_damaged_file_is_a_clear_answer(place):
    overwrite(place, "epochs")
    with place.client() as client:
        answer = client.get("/runs/1/epochs")
        assert (answer.status_code, answer.json()["type"]) == (500, "store-damaged")
        assert "camreel doctor" in answer.json()["detail"]
        assert str(place.folder) not in answer.text
        assert client.get("/datasets").status_code == 200


def test_a_hole_is_damage_that_stays(place):
    place.execute("DELETE FROM checkpoints WHERE epoch = 1")
    status, names = check(place, repair=True)
    assert status == 2
    assert "epochs" in names


def test_a_checkpoint_that_is_whole_again_is_released(place):
    with place.opened() as store, store.write_session() as session:
        epochs.quarantine(session, 1, 2, Damage.MISSING)
    assert check(place, repair=True) == (1, {"checkpoints"})
    assert check(place) == (0, set())


def test_a_write_that_is_under_way_is_left_alone(trained, kind, place):
    if kind == "file":
        (place.folder / "blobs" / ".new-abc").write_bytes(b"half")
    assert check(place, repair=True) == (0, set())


def test_a_backup_of_a_store_that_trains_is_whole(place, tmp_path):
    # Spec of more epochs, in a thread: commits go on while the copy is made.
    spec_run = threading.Thread(target=train, args=(place,))
    spec_run.start()
    out = tmp_path / "backup"
    with place.opened() as store:
        back_up(store, out)
    spec_run.join()
    copy = tmp_path / "copy"
    if place.kind == "file":
        out.rename(copy)
    else:
        copy.mkdir()
        out.rename(copy / "camreel.db")
    restored = Place(copy, place.kind)
    status, names = check(restored)
    assert (status, names - {"lost-runs"}) == (0, set()) or names <= {"lost-runs"}
    assert [restored.bytes_of(epoch) for epoch in range(4)] == [
        place.bytes_of(epoch) for epoch in range(4)
    ]


def test_a_backup_writes_over_nothing_and_takes_nothing_bad(place, tmp_path):
    out = tmp_path / "backup"
    place.put(2, b"bad")
    with place.opened() as store:
        with pytest.raises(BackupRefused, match="run 1, epoch 2"):
            back_up(store, out)
        out.write_text("mine")
        with pytest.raises(FileRefused, match="exists already"):
            back_up(store, out)
    assert out.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"backup", "state"}
