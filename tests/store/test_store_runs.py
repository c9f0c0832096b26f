"""Runs: creation, lookup, pagination, and deletion with all their rows."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select

from service.errors import RunNotFound
from service.store import deleted_runs, run_lifecycle, runs
from service.store.rows import Base, RunRow
from service.store.run_status import RunStatus

SPEC = {"epochs": 3, "optimizer": {"learning_rate": 0.1}, "name": "β", "tags": ["a"], "none": None}


def ids(rows: list[runs.Run]) -> list[int]:
    return [run.id for run in rows]


def test_new_run_is_queued_without_progress(store):
    start = datetime.now(UTC)
    with store.write_session() as session:
        created = runs.create(session, "first β", ["b", "a"], SPEC, 3)
    with store.read_session() as session:
        run = runs.get(session, created.id)
    assert run == created
    assert (run.name, run.tags, run.status) == ("first β", ["b", "a"], RunStatus.QUEUED)
    assert run.spec == SPEC
    assert (run.epochs_done, run.epochs_total, run.images_seen) == (-1, 3, 0)
    assert (run.error, run.started_at, run.finished_at, run.heartbeat_at) == (None,) * 4
    assert run.cancel_requested is False
    assert start <= run.created_at <= datetime.now(UTC)


@pytest.mark.parametrize("run_id", [0, -1, 2**31, 2**63 - 1])
def test_missing_run_is_not_found(store, new_run, run_id):
    new_run()
    with store.read_session() as session, pytest.raises(RunNotFound, match=f"no run {run_id}"):
        runs.get(session, run_id)


def test_ids_increase_and_are_never_reused(store, new_run):
    first, second = new_run(), new_run()
    with store.write_session() as session:
        run_lifecycle.mark_deleted(session, second.id)
    with store.write_session() as session:
        deleted_runs.delete_run(session, store.blobs, second.id)
    assert first.id < second.id < new_run().id


def test_runs_are_listed_newest_first(store, new_run):
    created = [new_run(name=str(i)) for i in range(5)]
    with store.read_session() as session:
        rows = runs.list_newest(session, limit=10)
    assert rows == created[::-1]


def test_pages_have_no_gaps_or_duplicates(store, new_run):
    created = ids([new_run() for _ in range(7)])
    pages: list[list[int]] = [[]]
    with store.read_session() as session:
        for _ in range(4):
            before_id = pages[-1][-1] if pages[-1] else None
            pages.append(ids(runs.list_newest(session, limit=3, before_id=before_id)))
        end = runs.list_newest(session, limit=3, before_id=created[0])
    assert pages[1:4] == [created[:3:-1], created[3:0:-1], created[:1]]
    assert end == []


def test_next_page_is_not_shifted_by_new_runs(store, new_run):
    created = ids([new_run() for _ in range(4)])
    with store.read_session() as session:
        first = ids(runs.list_newest(session, limit=2))
    new_run()
    with store.read_session() as session:
        second = ids(runs.list_newest(session, limit=2, before_id=first[-1]))
    assert first + second == created[::-1]


def test_runs_are_filtered_by_tag(store, new_run):
    run_xy, run_y, _ = new_run(tags=("x", "y")), new_run(tags=("y",)), new_run()
    with store.read_session() as session:
        assert ids(runs.list_newest(session, limit=9, tag="x")) == [run_xy.id]
        assert ids(runs.list_newest(session, limit=9, tag="y")) == [run_y.id, run_xy.id]
        assert runs.list_newest(session, limit=9, tag="Y") == []
        assert runs.list_newest(session, limit=9, tag="%") == []
        (run,) = runs.list_newest(session, limit=9, tag="x")
        assert run.tags == ["x", "y"]


def test_runs_are_filtered_by_status(store, new_run):
    queued, running, succeeded = new_run(), new_run(tags=("x",)), new_run(tags=("x",))
    with store.write_session() as session:
        run_lifecycle.claim(session, running.id)
        run_lifecycle.claim(session, succeeded.id)
        run_lifecycle.finish(session, succeeded.id, RunStatus.SUCCEEDED)
    with store.read_session() as session:
        assert ids(runs.list_newest(session, limit=9, status=RunStatus.QUEUED)) == [queued.id]
        assert ids(runs.list_newest(session, limit=9, status=RunStatus.RUNNING)) == [running.id]
        assert ids(runs.list_newest(session, limit=9, status=RunStatus.SUCCEEDED, tag="x")) == [
            succeeded.id
        ]
        assert runs.list_newest(session, limit=9, status=RunStatus.FAILED) == []
        assert ids(runs.list_by_status(session, RunStatus.QUEUED)) == [queued.id]
        assert runs.count_by_status(session) == {
            "queued": 1, "lost": 0, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0,
        }  # fmt: skip


def test_runs_of_a_status_are_listed_oldest_first(store, new_run):
    created = ids([new_run() for _ in range(3)])
    with store.read_session() as session:
        assert ids(runs.list_by_status(session, RunStatus.QUEUED)) == created


ACCESS_TABLES = {"tokens", "sessions", "audit"}
REQUEST_TABLES = {"request_keys", "uploads"}


def rows_by_table(store) -> dict[str, int]:
    with store.read_session() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name not in ACCESS_TABLES | REQUEST_TABLES
        }


def test_deleting_the_row_of_a_run_cascades(store, new_run, add_epoch):
    # Foreign keys cascade on SQLite too, where each connection must enable them.
    initial_counts = rows_by_table(store)
    run = new_run(tags=("x",))
    add_epoch(run, 0)
    with store.write_session() as session:
        session.execute(delete(RunRow).where(RunRow.id == run.id))
    assert rows_by_table(store) == initial_counts | {"blobs": 1}


def test_timestamps_are_utc(store, new_run):
    run = new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
        run_lifecycle.finish(session, run.id, RunStatus.SUCCEEDED)
    with store.read_session() as session:
        run = runs.get(session, run.id)
    timestamps = [run.created_at, run.started_at, run.heartbeat_at, run.finished_at]
    for timestamp in timestamps:
        assert timestamp.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=5)
    assert run.created_at <= run.started_at <= run.finished_at


def test_progress_of_many_runs_omits_missing_runs(store, new_run):
    ids = [new_run().id for _ in range(3)]
    with store.write_session() as session:
        run_lifecycle.claim(session, ids[1])
    missing = [ids[-1] + 1 + n for n in range(2 * runs.MAX_IDS_PER_QUERY)]
    with store.read_session() as session:
        progress = runs.get_progress_of_many(session, missing + ids)
        assert sorted(progress) == ids
        assert [progress[run_id].last_event for run_id in ids] == [1, 2, 1]
        assert progress == {run_id: runs.get_progress(session, run_id) for run_id in ids}
        assert runs.get_many(session, [*ids, missing[0]]) == {
            run_id: runs.get(session, run_id) for run_id in ids
        }
