"""A run's states change once, from the state that the change names, however many ask for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from service.store import run_lifecycle, runs
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.runs import RunError


@pytest.fixture
def run_in(store, new_run) -> Callable[[str], runs.Run]:
    """A run in a status, reached as a worker would."""

    def bring(status: str) -> runs.Run:
        run = new_run()
        with store.write_session() as session:
            if status != RunStatus.QUEUED:
                assert run_lifecycle.claim(session, run.id)
            if status in TERMINAL_STATUSES:
                assert run_lifecycle.finish(session, run.id, status)
        return stored(store, run)

    return bring


def stored(store, run: runs.Run) -> runs.Run:
    with store.read_session() as session:
        return runs.get(session, run.id)


def test_a_claimed_run_runs(store, new_run):
    run = new_run()
    with store.write_session() as session:
        assert run_lifecycle.claim(session, run.id)
    run = stored(store, run)
    assert run.status == RunStatus.RUNNING
    assert run.started_at is not None
    assert run.heartbeat_at == run.started_at


@pytest.mark.parametrize("status", [RunStatus.RUNNING, *TERMINAL_STATUSES])
def test_only_a_queued_run_can_be_claimed(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not run_lifecycle.claim(session, run.id)
    assert stored(store, run) == run


def test_a_run_that_is_not_there_changes_to_nothing(store):
    with store.write_session() as session:
        assert not run_lifecycle.claim(session, 0)
        assert not run_lifecycle.advance(session, 0, 0)
        assert not run_lifecycle.finish(session, 0, RunStatus.FAILED)
        assert not run_lifecycle.request_cancel(session, 0)
        run_lifecycle.update_heartbeat(session, 0, 1)
        assert run_lifecycle.is_cancel_requested(session, 0)  # deleted: its worker shall stop


def test_a_running_run_advances_by_epochs(store, run_in):
    run = run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        run_lifecycle.update_heartbeat(session, run.id, 500)
    seen = stored(store, run)
    assert (seen.images_seen, seen.epochs_done) == (500, -1)
    assert seen.heartbeat_at >= run.heartbeat_at
    with store.write_session() as session:
        assert run_lifecycle.advance(session, run.id, 0)
    advanced = stored(store, run)
    assert (advanced.images_seen, advanced.epochs_done) == (0, 0)
    assert advanced.heartbeat_at >= seen.heartbeat_at


@pytest.mark.parametrize("status", [RunStatus.QUEUED, *TERMINAL_STATUSES])
def test_a_run_that_does_not_run_neither_advances_nor_beats(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not run_lifecycle.advance(session, run.id, 5)
        run_lifecycle.update_heartbeat(session, run.id, 500)
    assert stored(store, run) == run


@pytest.mark.parametrize("status", TERMINAL_STATUSES)
def test_a_run_ends_once(store, run_in, status):
    run = run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        assert run_lifecycle.finish(session, run.id, status, RunError("oom", "Out of memory."))
    ended = stored(store, run)
    assert (ended.status, ended.error) == (status, RunError("oom", "Out of memory."))
    assert ended.finished_at is not None
    for again in TERMINAL_STATUSES:
        with store.write_session() as session:
            assert not run_lifecycle.finish(session, run.id, again, RunError("late", "Too late."))
    assert stored(store, run) == ended


def test_a_run_ends_only_from_the_states_that_are_named(store, run_in):
    waiting, running = run_in(RunStatus.QUEUED), run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        assert not run_lifecycle.finish(session, waiting.id, RunStatus.FAILED)
        assert not run_lifecycle.finish(
            session, running.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
        assert run_lifecycle.finish(
            session, waiting.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
        assert run_lifecycle.finish(
            session,
            running.id,
            RunStatus.FAILED,
            from_statuses=(RunStatus.QUEUED, RunStatus.RUNNING),
        )
    assert stored(store, waiting).status == RunStatus.CANCELLED
    assert stored(store, running).status == RunStatus.FAILED


def test_a_running_run_can_be_asked_to_end(store, run_in):
    run, other = run_in(RunStatus.RUNNING), run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        assert not run_lifecycle.is_cancel_requested(session, run.id)
        assert run_lifecycle.request_cancel(session, run.id)
    with store.write_session() as session:
        assert run_lifecycle.is_cancel_requested(session, run.id)
        assert run_lifecycle.request_cancel(session, run.id)  # asked twice, asked once
        assert not run_lifecycle.is_cancel_requested(session, other.id)
    assert stored(store, run).status == RunStatus.RUNNING
    assert stored(store, run).cancel_requested


@pytest.mark.parametrize("status", [RunStatus.QUEUED, *TERMINAL_STATUSES])
def test_a_run_that_does_not_run_is_not_asked_to_end(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not run_lifecycle.request_cancel(session, run.id)
    assert stored(store, run) == run


def test_one_of_eight_workers_gets_a_run(store, new_run):
    run = new_run()
    together = Barrier(8)

    def claim(_: int) -> bool:
        together.wait()
        with store.write_session() as session:
            return run_lifecycle.claim(session, run.id) is not None

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(claim, range(8))) == [False] * 7 + [True]


def test_one_of_eight_endings_at_once_is_the_runs(store, run_in):
    run = run_in(RunStatus.RUNNING)
    together = Barrier(8)

    def finish(i: int) -> bool:
        together.wait()
        with store.write_session() as session:
            return run_lifecycle.finish(
                session, run.id, TERMINAL_STATUSES[i % 3], RunError(str(i), "")
            )

    with ThreadPoolExecutor(8) as threads:
        ended = list(threads.map(finish, range(8)))
    assert sum(ended) == 1
    winner = ended.index(True)
    final = stored(store, run)
    assert (final.status, final.error) == (TERMINAL_STATUSES[winner % 3], RunError(str(winner), ""))


def test_what_a_worker_writes_under_a_lost_lease_changes_nothing(store, new_run):
    run = new_run()
    with store.write_session() as session:
        late = run_lifecycle.claim(session, run.id, "late")
        assert run_lifecycle.requeue(session, late, lost_workers=1)
        lease = run_lifecycle.claim(session, run.id, "next")
    before = stored(store, run)
    assert (before.attempt, before.lost_workers, before.lease_owner) == (2, 1, "next")
    with store.write_session() as session:
        assert not run_lifecycle.update_heartbeat(session, run.id, 7, lease=late)
        assert not run_lifecycle.advance(session, run.id, 0, lease=late)
        assert not run_lifecycle.finish(session, run.id, RunStatus.FAILED, lease=late)
        assert not run_lifecycle.requeue(session, late, lost_workers=1)
    assert stored(store, run) == before
    with store.write_session() as session:
        assert run_lifecycle.update_heartbeat(session, run.id, lease=lease)
        assert run_lifecycle.advance(session, run.id, 0, lease=lease)
        assert run_lifecycle.finish(session, run.id, RunStatus.FAILED, lease=lease)


def test_a_run_does_not_end_before_it_began_whatever_the_clock_does(store, new_run, monkeypatch):
    run = new_run()

    class AnHourAgo(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr(run_lifecycle, "datetime", AnHourAgo)
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, run.id)
        assert run_lifecycle.finish(session, run.id, RunStatus.FAILED, lease=lease)
    ended = stored(store, run)
    assert ended.created_at <= ended.started_at <= ended.finished_at
