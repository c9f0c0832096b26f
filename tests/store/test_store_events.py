"""What happens to a run is told once, numbered without gaps, by the transaction that did it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command

from service.store import epochs, events, run_lifecycle, runs, schema
from service.store.epochs import Checkpoint
from service.store.run_status import RunStatus


def told(store, run: runs.Run, after: int = 0) -> list[tuple[int, object]]:
    with store.read_session() as session:
        found = events.list_after(session, run.id, after)
    assert all(list(one.data) == [one.type] for one in found)
    return [(one.number, one.data[one.type]) for one in found]


def test_a_run_is_told_from_its_queue_to_its_end(store, new_run, add_epoch):
    run, other = new_run(), new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)
    add_epoch(run, 0)
    add_epoch(other, 0)
    add_epoch(run, 1)
    with store.write_session() as session:
        run_lifecycle.finish(session, run.id, RunStatus.SUCCEEDED)
    everything = [(1, "queued"), (2, "running"), (3, 0), (4, 1), (5, "succeeded")]
    assert told(store, run) == everything
    assert told(store, run, after=3) == everything[3:]
    assert told(store, run, after=5) == []
    assert told(store, other) == [(1, "queued"), (2, 0)]
    with store.read_session() as session:
        assert runs.get(session, run.id).last_event == 5
        assert [events.count_epochs(session, run.id, n) for n in range(6)] == [0, 0, 0, 1, 2, 2]


def test_a_run_of_which_nothing_was_told_yet_has_told_0_events(store, new_run):
    with store.write_session() as session:
        brought = runs.restore(session, new_run())
        assert runs.get(session, brought).last_event == 0


def test_what_did_not_happen_is_not_told(store, new_run):
    run = new_run()
    with store.write_session() as session:
        assert not run_lifecycle.finish(session, run.id, RunStatus.FAILED)
        assert not run_lifecycle.advance(session, run.id, 0)
        assert not run_lifecycle.request_cancel(session, run.id)
    assert told(store, run) == [(1, "queued")]


def test_what_is_rolled_back_leaves_no_gap(store, new_run, add_epoch):
    run = new_run()

    def claim_and_fail() -> None:
        with store.write_session() as session:
            run_lifecycle.claim(session, run.id)
            raise KeyError

    with pytest.raises(KeyError):
        claim_and_fail()
    assert told(store, run) == [(1, "queued")]
    add_epoch(run, 0)
    assert told(store, run) == [(1, "queued"), (2, 0)]


def test_changes_that_come_at_once_are_numbered_in_turn(store, new_run):
    run = new_run()
    with store.write_session() as session:
        run_lifecycle.claim(session, run.id)

    def change(i: int) -> None:
        with store.write_session() as session:
            if i == 4:
                run_lifecycle.finish(session, run.id, RunStatus.CANCELLED)
            elif run_lifecycle.advance(session, run.id, i):
                epochs.add(session, run.id, i, MEASURES, Checkpoint("0" * 64, 1, f"{run.id}/{i}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    found = told(store, run)
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    # Whatever came after the end did not happen.
    assert found[-1][1] == "cancelled"


def test_runs_of_an_older_schema_are_told_by_the_migration(store, new_run, add_epoch):
    run, without = new_run(), new_run()
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
    assert told(store, run) == [(1, 0), (2, 1), (3, "failed")]
    assert told(store, without) == [(1, "queued")]
    add_epoch(without, 0)
    assert told(store, without) == [(1, "queued"), (2, 0)]


MEASURES = epochs.EpochMetrics(0.5, 0.8, 0.4, 0.9, [1.0], 1.0, 1.5)
