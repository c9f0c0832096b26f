"""Runs: created, found again, listed in pages, and removed with all that is theirs."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select

from service.errors import RunNotFound
from service.store import deleted_runs, run_lifecycle, runs
from service.store.rows import Base, RunRow
from service.store.run_status import RunStatus

SPEC = {"epochs": 3, "optimizer": {"learning_rate": 0.1}, "name": "β", "tags": ["a"], "none": None}


def ids(found: list[runs.Run]) -> list[int]:
    return [run.id for run in found]


def test_a_new_run_is_queued_and_has_seen_nothing(store):
    before = datetime.now(UTC)
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
    assert before <= run.created_at <= datetime.now(UTC)


@pytest.mark.parametrize("run_id", [0, -1, 2**31, 2**63 - 1])
def test_a_run_that_is_not_there_is_not_found(store, new_run, run_id):
    new_run()
    with store.read_session() as session, pytest.raises(RunNotFound, match=f"no run {run_id}"):
        runs.get(session, run_id)


def test_ids_count_up_and_are_never_given_again(store, new_run):
    first, second = new_run(), new_run()
    with store.write_session() as session:
        run_lifecycle.mark_deleted(session, second.id)
    with store.write_session() as session:
        deleted_runs.delete_run(session, store.blobs, second.id)
    assert first.id < second.id < new_run().id


def test_runs_are_listed_newest_first(store, new_run):
    created = [new_run(name=str(i)) for i in range(5)]
    with store.read_session() as session:
        listed = runs.list_newest(session, limit=10)
    assert listed == created[::-1]


def test_pages_follow_each_other_without_gap_or_repeat(store, new_run):
    created = ids([new_run() for _ in range(7)])
    pages: list[list[int]] = [[]]
    with store.read_session() as session:
        for _ in range(4):
            before = pages[-1][-1] if pages[-1] else None
            pages.append(ids(runs.list_newest(session, limit=3, before_id=before)))
        end = runs.list_newest(session, limit=3, before_id=created[0])
    assert pages[1:4] == [created[:3:-1], created[3:0:-1], created[:1]]
    assert end == []


def test_a_page_is_not_moved_by_what_is_created_meanwhile(store, new_run):
    created = ids([new_run() for _ in range(4)])
    with store.read_session() as session:
        first = ids(runs.list_newest(session, limit=2))
    new_run()
    with store.read_session() as session:
        second = ids(runs.list_newest(session, limit=2, before_id=first[-1]))
    assert first + second == created[::-1]


def test_runs_are_found_by_tag(store, new_run):
    both, one, _ = new_run(tags=("x", "y")), new_run(tags=("y",)), new_run()
    with store.read_session() as session:
        assert ids(runs.list_newest(session, limit=9, tag="x")) == [both.id]
        assert ids(runs.list_newest(session, limit=9, tag="y")) == [one.id, both.id]
        assert runs.list_newest(session, limit=9, tag="Y") == []
        assert runs.list_newest(session, limit=9, tag="%") == []
        (found,) = runs.list_newest(session, limit=9, tag="x")
        assert found.tags == ["x", "y"]


def test_runs_are_found_by_status(store, new_run):
    waiting, running, ended = new_run(), new_run(tags=("x",)), new_run(tags=("x",))
    with store.write_session() as session:
        run_lifecycle.claim(session, running.id)
        run_lifecycle.claim(session, ended.id)
        run_lifecycle.finish(session, ended.id, RunStatus.SUCCEEDED)
    with store.read_session() as session:
        assert ids(runs.list_newest(session, limit=9, status=RunStatus.QUEUED)) == [waiting.id]
        assert ids(runs.list_newest(session, limit=9, status=RunStatus.RUNNING)) == [running.id]
        assert ids(runs.list_newest(session, limit=9, status=RunStatus.SUCCEEDED, tag="x")) == [
            ended.id
        ]
        assert runs.list_newest(session, limit=9, status=RunStatus.FAILED) == []
        assert ids(runs.list_by_status(session, RunStatus.QUEUED)) == [waiting.id]
        assert runs.count_by_status(session) == {
            "queued": 1, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0,
        }  # fmt: skip


def test_runs_of_a_status_come_oldest_first(store, new_run):
    created = ids([new_run() for _ in range(3)])
    with store.read_session() as session:
        assert ids(runs.list_by_status(session, RunStatus.QUEUED)) == created


OF_ACCESS = {"tokens", "sessions", "audit"}
OF_REQUESTS = {"request_keys", "uploads"}


def rows_by_table(store) -> dict[str, int]:
    with store.read_session() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name not in OF_ACCESS | OF_REQUESTS
        }


def test_a_run_deleted_by_hand_takes_its_rows_along(store, new_run, add_epoch):
    # The foreign keys cascade, on SQLite too, which has them off unless each connection asks.
    before = rows_by_table(store)
    run = new_run(tags=("x",))
    add_epoch(run, 0)
    with store.write_session() as session:
        session.execute(delete(RunRow).where(RunRow.id == run.id))
    assert rows_by_table(store) == before | {"blobs": 1}


def test_moments_are_utc(store, new_run):
    run = new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
        run_lifecycle.finish(session, run.id, RunStatus.SUCCEEDED)
    with store.read_session() as session:
        run = runs.get(session, run.id)
    moments = [run.created_at, run.started_at, run.heartbeat_at, run.finished_at]
    for moment in moments:
        assert moment.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    assert run.created_at <= run.started_at <= run.finished_at


def test_progress_of_many_runs_is_read_at_once_and_missing_runs_are_left_out(store, new_run):
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
