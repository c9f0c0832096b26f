"""Status changes of runs: only from the expected status, and only once if concurrent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from service.store import run_lifecycle, runs
from service.store.run_lifecycle import EpochProgress
from service.store.run_status import TERMINAL_STATUSES, RunPhase, RunStatus
from service.store.runs import RunError


@pytest.fixture
def run_in(store, new_run) -> Callable[[str], runs.Run]:
    """Creates runs in a status, reached as by a worker."""

    def create(status: str) -> runs.Run:
        run = new_run()
        with store.write_session() as session:
            if status != RunStatus.QUEUED:
                assert run_lifecycle.claim(session, run.id)
            if status in TERMINAL_STATUSES:
                assert run_lifecycle.finish(session, run.id, status)
        return get_run(store, run)

    return create


def get_run(store, run: runs.Run) -> runs.Run:
    with store.read_session() as session:
        return runs.get(session, run.id)


def training_progress(epoch: int, images_seen: int) -> EpochProgress:
    return EpochProgress(epoch, RunPhase.TRAINING, images_seen)


def test_claimed_run_is_running(store, new_run):
    run = new_run()
    with store.write_session() as session:
        assert run_lifecycle.claim(session, run.id)
    run = get_run(store, run)
    assert run.status == RunStatus.RUNNING
    assert run.started_at is not None
    assert run.heartbeat_at == run.started_at


@pytest.mark.parametrize("status", [RunStatus.RUNNING, *TERMINAL_STATUSES])
def test_only_a_queued_run_can_be_claimed(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not run_lifecycle.claim(session, run.id)
    assert get_run(store, run) == run


def test_changes_of_a_missing_run_have_no_effect(store):
    with store.write_session() as session:
        assert not run_lifecycle.claim(session, 0)
        assert not run_lifecycle.advance(session, 0, 0)
        assert not run_lifecycle.finish(session, 0, RunStatus.FAILED)
        assert not run_lifecycle.request_cancel(session, 0)
        run_lifecycle.update_heartbeat(session, 0, training_progress(0, 1))
        assert run_lifecycle.is_cancel_requested(session, 0)  # deleted, so its worker must stop


def test_running_run_advances_by_epochs(store, run_in):
    run = run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        run_lifecycle.update_heartbeat(session, run.id, training_progress(0, 500))
    with_heartbeat = get_run(store, run)
    assert (with_heartbeat.images_seen, with_heartbeat.epochs_done) == (500, -1)
    assert with_heartbeat.heartbeat_at >= run.heartbeat_at
    with store.write_session() as session:
        assert run_lifecycle.advance(session, run.id, 0)
    advanced = get_run(store, run)
    assert (advanced.images_seen, advanced.epochs_done) == (0, 0)
    assert advanced.heartbeat_at >= with_heartbeat.heartbeat_at


def test_phase_is_that_of_the_worker_and_ends_with_it(store, new_run):
    run = new_run(epochs=1)

    def phase_after(change, *arguments, **options) -> RunPhase | None:
        with store.write_session() as session:
            assert change(session, *arguments, **options)
        return get_run(store, run).phase

    assert run.phase is None
    assert phase_after(run_lifecycle.claim, run.id) == RunPhase.STARTING
    loading = EpochProgress(0, RunPhase.LOADING)
    assert phase_after(run_lifecycle.update_heartbeat, run.id, loading) == RunPhase.LOADING
    assert phase_after(run_lifecycle.update_heartbeat, run.id) == RunPhase.LOADING
    assert phase_after(run_lifecycle.advance, run.id, 0) == RunPhase.TRAINING
    lease = run_lifecycle.Lease(run.id, 1, run_lifecycle.NO_OWNER)
    assert phase_after(run_lifecycle.requeue, lease, lost_workers=1) is None
    assert phase_after(run_lifecycle.claim, run.id) == RunPhase.STARTING
    assert phase_after(run_lifecycle.advance, run.id, 1) is None  # the last epoch
    recording = EpochProgress(2, RunPhase.RECORDING)
    assert phase_after(run_lifecycle.update_heartbeat, run.id, recording) == RunPhase.RECORDING
    assert phase_after(run_lifecycle.finish, run.id, RunStatus.FAILED) is None


def test_progress_of_a_recorded_epoch_is_not_written(store, run_in):
    run = run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        run_lifecycle.advance(session, run.id, 0)
        assert run_lifecycle.update_heartbeat(
            session, run.id, EpochProgress(0, RunPhase.RECORDING, 500)
        )
    progress = get_run(store, run)
    assert (progress.phase, progress.images_seen) == (RunPhase.TRAINING, 0)


@pytest.mark.parametrize("status", [RunStatus.QUEUED, *TERMINAL_STATUSES])
def test_run_that_is_not_running_ignores_epochs_and_heartbeats(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not run_lifecycle.advance(session, run.id, 5)
        run_lifecycle.update_heartbeat(session, run.id, training_progress(0, 500))
    assert get_run(store, run) == run


@pytest.mark.parametrize("status", TERMINAL_STATUSES)
def test_run_ends_only_once(store, run_in, status):
    run = run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        assert run_lifecycle.finish(session, run.id, status, RunError("oom", "Out of memory."))
    ended_run = get_run(store, run)
    assert (ended_run.status, ended_run.error) == (status, RunError("oom", "Out of memory."))
    assert ended_run.finished_at is not None
    for other_status in TERMINAL_STATUSES:
        with store.write_session() as session:
            assert not run_lifecycle.finish(
                session, run.id, other_status, RunError("late", "Too late.")
            )
    assert get_run(store, run) == ended_run


def test_run_ends_only_from_the_given_statuses(store, run_in):
    queued, running = run_in(RunStatus.QUEUED), run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        assert not run_lifecycle.finish(session, queued.id, RunStatus.FAILED)
        assert not run_lifecycle.finish(
            session, running.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
        assert run_lifecycle.finish(
            session, queued.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
        assert run_lifecycle.finish(
            session,
            running.id,
            RunStatus.FAILED,
            from_statuses=(RunStatus.QUEUED, RunStatus.RUNNING),
        )
    assert get_run(store, queued).status == RunStatus.CANCELLED
    assert get_run(store, running).status == RunStatus.FAILED


def test_cancellation_of_a_running_run_is_requested(store, run_in):
    run, other_run = run_in(RunStatus.RUNNING), run_in(RunStatus.RUNNING)
    with store.write_session() as session:
        assert not run_lifecycle.is_cancel_requested(session, run.id)
        assert run_lifecycle.request_cancel(session, run.id)
    with store.write_session() as session:
        assert run_lifecycle.is_cancel_requested(session, run.id)
        assert run_lifecycle.request_cancel(session, run.id)  # idempotent
        assert not run_lifecycle.is_cancel_requested(session, other_run.id)
    assert get_run(store, run).status == RunStatus.RUNNING
    assert get_run(store, run).cancel_requested


@pytest.mark.parametrize("status", [RunStatus.QUEUED, *TERMINAL_STATUSES])
def test_cancellation_is_not_requested_unless_the_run_is_running(store, run_in, status):
    run = run_in(status)
    with store.write_session() as session:
        assert not run_lifecycle.request_cancel(session, run.id)
    assert get_run(store, run) == run


def test_one_of_eight_workers_claims_a_run(store, new_run):
    run = new_run()
    barrier = Barrier(8)

    def claim(_: int) -> bool:
        barrier.wait()
        with store.write_session() as session:
            return run_lifecycle.claim(session, run.id) is not None

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(claim, range(8))) == [False] * 7 + [True]


def test_one_of_eight_simultaneous_ends_is_recorded(store, run_in):
    run = run_in(RunStatus.RUNNING)
    barrier = Barrier(8)

    def finish(i: int) -> bool:
        barrier.wait()
        with store.write_session() as session:
            return run_lifecycle.finish(
                session, run.id, TERMINAL_STATUSES[i % 3], RunError(str(i), "")
            )

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(finish, range(8)))
    assert sum(results) == 1
    winner = results.index(True)
    final = get_run(store, run)
    assert (final.status, final.error) == (TERMINAL_STATUSES[winner % 3], RunError(str(winner), ""))


def test_writes_under_a_lost_lease_have_no_effect(store, new_run):
    run = new_run()
    with store.write_session() as session:
        lost_lease = run_lifecycle.claim(session, run.id, "late")
        assert run_lifecycle.requeue(session, lost_lease, lost_workers=1)
        lease = run_lifecycle.claim(session, run.id, "next")
    run_of_next_worker = get_run(store, run)
    assert (
        run_of_next_worker.attempt,
        run_of_next_worker.lost_workers,
        run_of_next_worker.lease_owner,
    ) == (2, 1, "next")
    with store.write_session() as session:
        assert not run_lifecycle.update_heartbeat(
            session, run.id, training_progress(0, 7), lease=lost_lease
        )
        assert not run_lifecycle.advance(session, run.id, 0, lease=lost_lease)
        assert not run_lifecycle.finish(session, run.id, RunStatus.FAILED, lease=lost_lease)
        assert not run_lifecycle.requeue(session, lost_lease, lost_workers=1)
    assert get_run(store, run) == run_of_next_worker
    with store.write_session() as session:
        assert run_lifecycle.update_heartbeat(session, run.id, lease=lease)
        assert run_lifecycle.advance(session, run.id, 0, lease=lease)
        assert run_lifecycle.finish(session, run.id, RunStatus.FAILED, lease=lease)


def test_run_does_not_end_before_its_start_if_the_clock_jumps_back(store, new_run, monkeypatch):
    run = new_run()

    class DatetimeAnHourAgo(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr(run_lifecycle, "datetime", DatetimeAnHourAgo)
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, run.id)
        assert run_lifecycle.finish(session, run.id, RunStatus.FAILED, lease=lease)
    ended_run = get_run(store, run)
    assert ended_run.created_at <= ended_run.started_at <= ended_run.finished_at
