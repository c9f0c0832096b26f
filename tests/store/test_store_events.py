"""Events of a run: recorded once, by the transaction of the change, numbered without gaps."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command

from service.store import epochs, events, run_lifecycle, runs, schema
from service.store.epochs import Checkpoint
from service.store.run_status import RunStatus


def list_events(store, run: runs.Run, after: int = 0) -> list[tuple[int, object]]:
    with store.read_session() as session:
        rows = events.list_after(session, run.id, after)
    assert all(list(row.data) == [row.type] for row in rows)
    return [(row.number, row.data[row.type]) for row in rows]


def test_events_cover_a_run_from_queued_to_its_end(store, new_run, add_epoch):
    run, other_run = new_run(), new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
    add_epoch(run, 0)
    add_epoch(other_run, 0)
    add_epoch(run, 1)
    with store.write_session() as session:
        run_lifecycle.finish(session, run.id, RunStatus.SUCCEEDED)
    expected = [(1, "queued"), (2, "running"), (3, 0), (4, 1), (5, "succeeded")]
    assert list_events(store, run) == expected
    assert list_events(store, run, after=3) == expected[3:]
    assert list_events(store, run, after=5) == []
    assert list_events(store, other_run) == [(1, "queued"), (2, 0)]
    with store.read_session() as session:
        assert runs.get(session, run.id).last_event == 5
        assert [events.count_epochs(session, run.id, n) for n in range(6)] == [0, 0, 0, 1, 2, 2]


def test_restored_run_has_no_events(store, new_run):
    with store.write_session() as session:
        run_id = runs.restore(session, new_run())
        assert runs.get(session, run_id).last_event == 0


def test_refused_changes_record_no_events(store, new_run):
    run = new_run()
    with store.write_session() as session:
        assert not run_lifecycle.finish(session, run.id, RunStatus.FAILED)
        assert not run_lifecycle.advance(session, run.id, 0)
        assert not run_lifecycle.request_cancel(session, run.id)
    assert list_events(store, run) == [(1, "queued")]


def test_rollback_leaves_no_gap(store, new_run, add_epoch):
    run = new_run()

    def claim_and_fail() -> None:
        with store.write_session() as session:
            run_lifecycle.claim(session, run.id)
            raise KeyError

    with pytest.raises(KeyError):
        claim_and_fail()
    assert list_events(store, run) == [(1, "queued")]
    add_epoch(run, 0)
    assert list_events(store, run) == [(1, "queued"), (2, 0)]


def test_concurrent_changes_are_numbered_consecutively(store, new_run):
    run = new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)

    def change(i: int) -> None:
        with store.write_session() as session:
            if i == 4:
                run_lifecycle.finish(session, run.id, RunStatus.CANCELLED)
            elif run_lifecycle.advance(session, run.id, i):
                epochs.add(session, run.id, i, METRICS, Checkpoint("0" * 64, 1, f"{run.id}/{i}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    recorded = list_events(store, run)
    assert [number for number, _ in recorded] == list(range(1, len(recorded) + 1))
    # Changes after the end are refused.
    assert recorded[-1][1] == "cancelled"


def test_migration_records_events_of_existing_runs(store, new_run, add_epoch):
    run, empty_run = new_run(), new_run()
    for epoch in (0, 1):
        add_epoch(run, epoch)
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
        run_lifecycle.finish(session, run.id, RunStatus.FAILED)
    config = schema._config()
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    schema.upgrade(store)
    assert list_events(store, run) == [(1, 0), (2, 1), (3, "failed")]
    assert list_events(store, empty_run) == [(1, "queued")]
    add_epoch(empty_run, 0)
    assert list_events(store, empty_run) == [(1, "queued"), (2, 0)]


METRICS = epochs.EpochMetrics(0.5, 0.8, 0.4, 0.9, [1.0], 1.0, 1.5)
