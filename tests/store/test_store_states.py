"""A run's states change once, from the state that the change names, however many ask for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from service.store import runs
from service.store.runs import CANCELLED, FAILED, QUEUED, RUNNING, TERMINAL, RunError


@pytest.fixture
def run_in(store, new_run) -> Callable[[str], runs.Run]:
    """A run in a status, reached as a worker would."""

    def bring(status: str) -> runs.Run:
        run = new_run()
        with store.write_session() as session:
            if status != QUEUED:
                assert runs.claim(session, run.id)
            if status in TERMINAL:
                assert runs.finish(session, run.id, status)
        return stored(store, run)

    return bring


def stored(store, run: runs.Run) -> runs.Run:
    with store.read_session() as session:
        return runs.get(session, run.id)


def test_a_claimed_run_runs(store, new_run):
    run = new_run()
    with store.write_session() as session:
        assert runs.claim(session, run.id)
    run = stored(store, run)
    assert run.status == RUNNING
    assert run.started_at is not None
    assert run.heartbeat_at == run.started_at


@pytest.mark.parametrize("status", [RUNNING, *TERMINAL])
def test_only_a_queued_run_can_be_claimed(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not runs.claim(session, run.id)
    assert stored(store, run) == run


def test_a_run_that_is_not_there_changes_to_nothing(store):
    with store.write_session() as session:
        assert not runs.claim(session, 0)
        assert not runs.advance(session, 0, 0)
        assert not runs.finish(session, 0, FAILED)
        assert not runs.request_cancel(session, 0)
        runs.update_heartbeat(session, 0, 1)
        assert runs.is_cancel_requested(session, 0)  # deleted: its worker shall stop


def test_a_running_run_advances_by_epochs(store, run_in):
    run = run_in(RUNNING)
    with store.write_session() as session:
        runs.update_heartbeat(session, run.id, 500)
    seen = stored(store, run)
    assert (seen.images_seen, seen.epochs_done) == (500, -1)
    assert seen.heartbeat_at >= run.heartbeat_at
    with store.write_session() as session:
        assert runs.advance(session, run.id, 0)
    advanced = stored(store, run)
    assert (advanced.images_seen, advanced.epochs_done) == (0, 0)
    assert advanced.heartbeat_at >= seen.heartbeat_at


@pytest.mark.parametrize("status", [QUEUED, *TERMINAL])
def test_a_run_that_does_not_run_neither_advances_nor_beats(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not runs.advance(session, run.id, 5)
        runs.update_heartbeat(session, run.id, 500)
    assert stored(store, run) == run


@pytest.mark.parametrize("status", TERMINAL)
def test_a_run_ends_once(store, run_in, status):
    run = run_in(RUNNING)
    with store.write_session() as session:
        assert runs.finish(session, run.id, status, RunError("oom", "Out of memory."))
    ended = stored(store, run)
    assert (ended.status, ended.error) == (status, RunError("oom", "Out of memory."))
    assert ended.finished_at is not None
    for again in TERMINAL:
        with store.write_session() as session:
            assert not runs.finish(session, run.id, again, RunError("late", "Too late."))
    assert stored(store, run) == ended


def test_a_run_ends_only_from_the_states_that_are_named(store, run_in):
    waiting, running = run_in(QUEUED), run_in(RUNNING)
    with store.write_session() as session:
        assert not runs.finish(session, waiting.id, FAILED)
        assert not runs.finish(session, running.id, CANCELLED, from_statuses=(QUEUED,))
        assert runs.finish(session, waiting.id, CANCELLED, from_statuses=(QUEUED,))
        assert runs.finish(session, running.id, FAILED, from_statuses=(QUEUED, RUNNING))
    assert stored(store, waiting).status == CANCELLED
    assert stored(store, running).status == FAILED


def test_a_running_run_can_be_asked_to_end(store, run_in):
    run, other = run_in(RUNNING), run_in(RUNNING)
    with store.write_session() as session:
        assert not runs.is_cancel_requested(session, run.id)
        assert runs.request_cancel(session, run.id)
    with store.write_session() as session:
        assert runs.is_cancel_requested(session, run.id)
        assert runs.request_cancel(session, run.id)  # asked twice, asked once
        assert not runs.is_cancel_requested(session, other.id)
    assert stored(store, run).status == RUNNING
    assert stored(store, run).cancel_requested


@pytest.mark.parametrize("status", [QUEUED, *TERMINAL])
def test_a_run_that_does_not_run_is_not_asked_to_end(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not runs.request_cancel(session, run.id)
    assert stored(store, run) == run


def test_one_of_eight_workers_gets_a_run(store, new_run):
    run = new_run()
    together = Barrier(8)

    def claim(_: int) -> bool:
        together.wait()
        with store.write_session() as session:
            return runs.claim(session, run.id) is not None

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(claim, range(8))) == [False] * 7 + [True]


def test_one_of_eight_endings_at_once_is_the_runs(store, run_in):
    run = run_in(RUNNING)
    together = Barrier(8)

    def finish(i: int) -> bool:
        together.wait()
        with store.write_session() as session:
            return runs.finish(session, run.id, TERMINAL[i % 3], RunError(str(i), ""))

    with ThreadPoolExecutor(8) as threads:
        ended = list(threads.map(finish, range(8)))
    assert sum(ended) == 1
    winner = ended.index(True)
    final = stored(store, run)
    assert (final.status, final.error) == (TERMINAL[winner % 3], RunError(str(winner), ""))


def test_what_a_worker_writes_under_a_lost_lease_changes_nothing(store, new_run):
    run = new_run()
    with store.write_session() as session:
        late = runs.claim(session, run.id, "late")
        assert runs.requeue(session, late, lost_workers=1)
        lease = runs.claim(session, run.id, "next")
    before = stored(store, run)
    assert (before.attempt, before.lost_workers, before.lease_owner) == (2, 1, "next")
    with store.write_session() as session:
        assert not runs.update_heartbeat(session, run.id, 7, lease=late)
        assert not runs.advance(session, run.id, 0, lease=late)
        assert not runs.finish(session, run.id, FAILED, lease=late)
        assert not runs.requeue(session, late, lost_workers=1)
    assert stored(store, run) == before
    with store.write_session() as session:
        assert runs.update_heartbeat(session, run.id, lease=lease)
        assert runs.advance(session, run.id, 0, lease=lease)
        assert runs.finish(session, run.id, FAILED, lease=lease)


def test_a_run_does_not_end_before_it_began_whatever_the_clock_does(store, new_run, monkeypatch):
    run = new_run()

    class AnHourAgo(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr(runs, "datetime", AnHourAgo)
    with store.write_session() as session:
        lease = runs.claim(session, run.id)
        assert runs.finish(session, run.id, FAILED, lease=lease)
    ended = stored(store, run)
    assert ended.created_at <= ended.started_at <= ended.finished_at
