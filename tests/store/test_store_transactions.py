"""Transactions: atomicity, waiting for locks, and translated errors."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from socket import create_server

import pytest
from sqlalchemy import text

from service.store import database, epochs, heatmaps, run_lifecycle, runs, schema
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.heatmaps import Heatmap
from service.store.rows import UtcDateTime
from service.store.store import Store, open_store
from service.store_errors import StoreBusy, StoreFull

METRICS = EpochMetrics(0.5, 0.8, 0.4, 0.9, [1.0], 1.0, 1.5)


class Interrupted(Exception):
    pass


@pytest.fixture
def sqlite_file(migrated_sqlite: Path, tmp_path: Path) -> Path:
    file = tmp_path / "camreel.db"
    file.write_bytes(migrated_sqlite.read_bytes())
    return file


def write_epoch(store: Store, session, run_id: int) -> None:
    key = f"runs/{run_id}/epochs/0.safetensors"
    run_lifecycle.advance(session, run_id, 0)
    store.blobs.put(session, key, b"bytes")
    epochs.add(session, run_id, 0, METRICS, Checkpoint("0" * 64, 5, key))
    heatmap = Heatmap(run_id, 0, "test:0", 0, "proposed", "conv2", 1.0, 0.0, 1.0, "none", "e")
    heatmaps.add_missing(session, [heatmap])


def visible_state(store: Store, run_id: int) -> tuple:
    with store.read_session() as session:
        return (
            runs.get(session, run_id).epochs_done,
            [epoch.epoch for epoch in epochs.list_epochs(session, run_id)],
            len(heatmaps.list_for_image(session, run_id, "test:0", 0, "proposed", "conv2")),
            session.scalar(text("SELECT count(*) FROM blobs")),
        )


def test_exception_rolls_back_the_whole_block(store, new_run):
    run = new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)

    def write_and_interrupt() -> None:
        with store.write_session() as session:
            write_epoch(store, session, run.id)
            raise Interrupted

    with pytest.raises(Interrupted):
        write_and_interrupt()
    assert visible_state(store, run.id) == (-1, [], 0, 0)
    with store.write_session() as session:
        write_epoch(store, session, run.id)
    assert visible_state(store, run.id) == (0, [0], 1, 1)


def test_epoch_becomes_visible_atomically(store, new_run, database_url):
    run = new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
    with open_store(database_url) as other_store:
        with store.write_session() as session:
            write_epoch(store, session, run.id)
            assert visible_state(other_store, run.id) == (-1, [], 0, 0)
        assert visible_state(other_store, run.id) == (0, [0], 1, 1)


def test_committed_rows_exist_after_reopening_the_database(store, new_run, database_url):
    run = new_run(name="kept")
    store.close()
    with open_store(database_url) as reopened_store, reopened_store.read_session() as session:
        assert runs.get(session, run.id).name == "kept"


def test_eight_concurrent_writers_lose_nothing(store):
    def write(i: int) -> list[int]:
        created = []
        for turn in range(4):
            with store.write_session() as session:
                run = runs.create(session, f"{i}/{turn}", ["all"], {}, 1)
                run_lifecycle.claim(session, run.id)
                write_epoch(store, session, run.id)
            created.append(run.id)
        return created

    with ThreadPoolExecutor(8) as threads:
        created = [run_id for ids in threads.map(write, range(8)) for run_id in ids]
    assert len(set(created)) == 32
    with store.read_session() as session:
        rows = runs.list_newest(session, limit=100, tag="all")
    assert [run.id for run in rows] == sorted(created, reverse=True)
    assert {run.name for run in rows} == {f"{i}/{turn}" for i in range(8) for turn in range(4)}
    for run in rows[::7]:
        assert visible_state(store, run.id)[:3] == (0, [0], 1)


def test_transactions_that_read_before_writing_are_serialized(store, new_run):
    # Two transactions read and then write the same row: both commit, one after the other.
    run = new_run()
    first_has_read = threading.Event()

    def read_then_write() -> bool:
        with store.write_session() as session:
            runs.get(session, run.id)
            first_has_read.set()
            time.sleep(0.05)
            return run_lifecycle.claim(session, run.id) is not None

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(read_then_write)
        first_has_read.wait()
        second = threads.submit(read_then_write)
        assert sorted([first.result(), second.result()]) == [False, True]


def test_timestamp_without_time_zone_is_refused(store):
    with pytest.raises(ValueError, match="without a time zone"):
        UtcDateTime().process_bind_param(datetime(2019, 6, 4), store.engine.dialect)


def test_locked_sqlite_file_is_busy_for_writers_only(sqlite_file, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    with (
        open_store(f"sqlite:///{sqlite_file}") as store,
        closing(sqlite3.connect(sqlite_file, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as busy, store.write_session() as session:
            runs.create(session, "", [], {}, 1)
        assert str(sqlite_file) not in str(busy.value)
        assert "INSERT" not in str(busy.value)
        with store.read_session() as session:
            assert runs.list_newest(session, limit=1) == []
        connection.execute("ROLLBACK")
        with store.write_session() as session:
            runs.create(session, "", [], {}, 1)


def test_writer_waits_for_another_writer(sqlite_file):
    with (
        open_store(f"sqlite:///{sqlite_file}") as store,
        closing(sqlite3.connect(sqlite_file, isolation_level=None)) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        connection.execute("BEGIN IMMEDIATE")

        def write() -> float:
            with store.write_session() as session:
                runs.create(session, "", [], {}, 1)
            return time.monotonic()

        write_time = thread.submit(write)
        time.sleep(0.2)
        release_time = time.monotonic()
        connection.execute("COMMIT")
        assert write_time.result(timeout=10) >= release_time


def test_full_disk_raises_store_full_and_rolls_back(sqlite_file):
    def write_much(store: Store) -> None:
        with store.write_session() as session:
            pages = session.scalar(text("PRAGMA page_count"))
            session.execute(text(f"PRAGMA max_page_count={pages + 2}"))
            runs.create(session, "lost", [], {}, 1)
            store.blobs.put(session, "large", bytes(1_000_000))

    with open_store(f"sqlite:///{sqlite_file}") as store:
        with pytest.raises(StoreFull) as full:
            write_much(store)
        assert str(sqlite_file) not in str(full.value)
        with store.read_session() as session:
            assert runs.list_newest(session, limit=1) == []


def test_sqlite_journal_is_durable(sqlite_file):
    # Before SQLite 3.51.3 two connections could lose a commit in the write-ahead log.
    with open_store(f"sqlite:///{sqlite_file}") as store, store.read_session() as session:
        journal = session.scalar(text("PRAGMA journal_mode"))
        synchronous = session.scalar(text("PRAGMA synchronous"))
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
    safe = sqlite3.sqlite_version_info >= (3, 51, 3)
    assert (journal, synchronous) == (("wal", 2) if safe else ("delete", 3))  # FULL, EXTRA


def test_folder_of_a_sqlite_file_is_created(tmp_path):
    with open_store(tmp_path / "new" / "folder" / "camreel.db") as store:
        schema.ensure(store)
    assert (tmp_path / "new" / "folder" / "camreel.db").is_file()


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
def test_unreachable_server_is_busy(driver):
    with create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with open_store(f"{driver}://camreel:secret@127.0.0.1:{port}/camreel") as store:
        with pytest.raises(StoreBusy) as busy, store.read_session() as session:
            runs.list_newest(session, limit=1)
        assert "secret" not in str(busy.value)


@pytest.mark.postgres
def test_store_recovers_after_the_server_ends_the_connection(migrated_postgres):
    def lose_the_connection(store: Store) -> None:
        with store.write_session() as session:
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with open_store(migrated_postgres) as store:
        with pytest.raises(StoreBusy):
            lose_the_connection(store)
        with store.read_session() as session:
            assert session.scalar(text("SELECT 1")) == 1
