"""From the queue to the executor: dispatching runs, and detecting lost workers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from service.errors import RunNotFound
from service.flows.heartbeats import HeartbeatMonitor
from service.flows.run_errors import WORKER_LOST, cause_of
from service.flows.server_names import is_dead
from service.flows.worker import new_lease_owner, run_worker
from service.flows.workspace import Workspace
from service.jobs import Executor, ProcessExit, Task
from service.store import run_lifecycle, runs
from service.store.run_lifecycle import Lease
from service.store.run_status import RunPhase, RunSource, RunStatus
from service.store.runs import QueuedRun, Run, RunError
from service.store.store import Store
from service.store_errors import StoreUnavailable

RunHeartbeat = tuple[str, int, int]  # status, attempt, number of heartbeats

log = structlog.get_logger()


def dispatch_run(store: Store, executor: Executor, workspace: Workspace, run: Run) -> None:
    """Submit a queued run to the executor, and again each time that its worker is lost."""
    owner = new_lease_owner()
    executor.submit(
        Task(
            function=run_worker,
            arguments=(workspace, run.id, owner),
            on_exit=partial(_on_worker_exit, store, executor, workspace, run, owner),
            name=task_name(run.id),
            should_start=partial(_is_queued, store, run.id),
            # A single run does not wait for the hundreds of an experiment.
            in_background=run.experiment_id is not None,
        )
    )


def dispatch_queued(store: Store, executor: Executor, workspace: Workspace) -> list[QueuedRun]:
    """Submit the queued runs that no live process dispatches already; returns the queue."""
    with store.read_session() as session:
        queue = runs.list_queue(session)
    dispatchers = {run.dispatcher for run in queue}
    unassigned = {name for name in dispatchers if name is None or is_dead(name)}
    for queued in queue:
        if queued.dispatcher in unassigned and not executor.has_task(task_name(queued.id)):
            # It may have been deleted since, and an executor that is closing accepts no task.
            with suppress(RunNotFound, RuntimeError):
                with store.read_session() as session:
                    run = runs.get(session, queued.id)
                dispatch_run(store, executor, workspace, run)
    return queue


def requeue_or_fail(
    store: Store,
    workspace: Workspace,
    lease: Lease,
    cause: RunError,
    dispatcher: str | None = None,
) -> bool:
    """Requeue the run of a lost worker, or fail it after `max_attempts`; whether it is queued.

    Changes nothing if the run is under another lease or has been deleted. `dispatcher` is the
    process that dispatches it again; None: the one that is elected.
    """
    with suppress(RunNotFound), store.write_session() as session:
        lost_workers = runs.get_for_update(session, lease.run_id).lost_workers + 1
        if lost_workers < workspace.max_attempts:
            return run_lifecycle.requeue(session, lease, lost_workers=1, dispatcher=dispatcher)
        unfinished = (RunStatus.QUEUED, RunStatus.RUNNING)
        if run_lifecycle.finish(
            session, lease.run_id, RunStatus.FAILED, cause, from_statuses=unfinished, lease=lease
        ):
            log.warning("run failed", run=lease.run_id, error=cause.type, attempts=lost_workers)
    return False


def task_name(run_id: int) -> str:
    """The name of a run's task in the executor."""
    return f"run-{run_id}"


def _is_queued(store: Store, run_id: int) -> bool:
    """Whether the run still needs a worker; True if the database cannot be read."""
    with suppress(StoreUnavailable), store.read_session() as session:
        progress = runs.get_progress(session, run_id)
        return progress is not None and progress.status == RunStatus.QUEUED
    return True


def _on_worker_exit(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    dispatched: Run,
    owner: str,
    process_exit: ProcessExit,
) -> None:
    """Requeue or fail a run whose worker could not finish it.

    If the database is unavailable now, the lease monitor does so later.
    """
    if process_exit.exit_code == 0 and not process_exit.during_shutdown:
        return
    with store.read_session() as session:
        run = runs.get(session, dispatched.id)
    lease = Lease(run.id, run.attempt, owner)
    if process_exit.during_shutdown:
        # Stopped, not lost: it does not count as an attempt, and the next start dispatches it.
        with store.write_session() as session:
            run_lifecycle.requeue(session, lease, lost_workers=0)
        return
    cause = cause_of(process_exit)
    log.warning("worker lost", run=run.id, error=cause.type)
    if run.status == RunStatus.QUEUED:
        # It exited before it claimed the run, or long after it lost it: then no lease matches.
        lease = Lease(run.id, dispatched.attempt, run_lifecycle.NO_OWNER)
    if requeue_or_fail(store, workspace, lease, cause, run.dispatcher):
        # An executor that is closing accepts no task; the next start dispatches the run.
        with suppress(RuntimeError):
            dispatch_run(store, executor, workspace, run)


@dataclass
class QueueMonitor:
    """Dispatches queued runs of the database. `scan` is called periodically, from one thread.

    It also records which of them are starting, so that other processes know it.
    """

    store: Store
    executor: Executor
    workspace: Workspace
    _starting: set[int] = field(default_factory=set)  # ids, at the last scan

    def scan(self) -> None:
        """Dispatch the queued runs that no other process dispatches.

        Raises StoreUnavailable and StoreFull.
        """
        queue = dispatch_queued(self.store, self.executor, self.workspace)
        starting = {run.id for run in queue if self.executor.has_started(task_name(run.id))}
        # Most workers claim their run before the second scan, which saves a transaction.
        changes = {
            run.id: run.id in starting
            for run in queue
            if self.executor.has_task(task_name(run.id))
            and (run.phase == RunPhase.STARTING) != (run.id in starting)
            and (run.id not in starting or run.id in self._starting)
        }
        self._starting = starting
        if changes:
            with self.store.write_session() as session:
                for run_id, is_starting in changes.items():
                    run_lifecycle.set_starting(session, run_id, is_starting)


@dataclass
class LeaseMonitor:
    """Detects runs without a worker. `scan` is called periodically, from one thread.

    It relies on no timestamp in the database, so that a changed clock loses no live worker: a lease
    has expired when this process has seen the same heartbeat for longer than the lease, by its
    monotonic clock. A run that has been queued for that long, and not in this process, may be in
    the queue of a dead server. It is dispatched here too: of two workers, one gets the lease.
    """

    store: Store
    executor: Executor
    workspace: Workspace
    _heartbeats: HeartbeatMonitor[int, RunHeartbeat] = field(default_factory=HeartbeatMonitor)

    def scan(self, now_seconds: float | None = None) -> list[int]:
        """Dispatch or fail the runs without a worker; returns their ids.

        `now_seconds` defaults to time.monotonic(). Handles all runs, then raises the first error,
        such as StoreUnavailable and StoreFull.
        """
        scan_seconds = time.monotonic() if now_seconds is None else now_seconds
        try:
            with self.store.read_session() as session:
                running = [
                    run
                    for run in runs.list_by_status(session, RunStatus.RUNNING)
                    if run.source is RunSource.TRAINED
                ]
                queued = runs.list_by_status(session, RunStatus.QUEUED)
        except StoreUnavailable:
            # One of our own workers, stopped during its commit, may be what blocks the database.
            for run_id in self._expired(scan_seconds, RunStatus.RUNNING):
                self.executor.kill(task_name(run_id))
            raise
        self._heartbeats.observe(
            {run.id: (run.status, run.attempt, run.heartbeats) for run in (*running, *queued)},
            scan_seconds,
        )
        expired_running = self._expired(scan_seconds, RunStatus.RUNNING)
        expired_queued = self._expired(scan_seconds, RunStatus.QUEUED)
        lost_runs = [run for run in running if run.id in expired_running]
        stranded_runs = [
            run for run in queued if run.id in expired_queued and not self._is_submitted(run)
        ]
        errors: list[Exception] = []
        for run in lost_runs:
            with _collect(errors):
                self._reassign(run)
        for run in stranded_runs:
            with _collect(errors):
                dispatch_run(self.store, self.executor, self.workspace, run)
                # Not again at each scan.
                self._heartbeats.forget(run.id)
        if errors:
            raise errors[0]
        return [run.id for run in (*lost_runs, *stranded_runs)]

    def _reassign(self, run: Run) -> None:
        # Before any write: a worker that was stopped in a transaction blocks all other writers.
        self.executor.kill(task_name(run.id))
        lease = Lease(run.id, run.attempt, run.lease_owner or run_lifecycle.NO_OWNER)
        if requeue_or_fail(self.store, self.workspace, lease, WORKER_LOST):
            dispatch_run(self.store, self.executor, self.workspace, run)

    def _is_submitted(self, run: Run) -> bool:
        return self.executor.has_task(task_name(run.id))

    def _expired(self, now_seconds: float, status: str) -> set[int]:
        """Ids of the runs of a status whose heartbeat has not changed for a whole lease."""
        stopped_runs = self._heartbeats.stopped_heartbeats(
            now_seconds, self.workspace.lease_seconds
        )
        return {run_id for run_id, heartbeat in stopped_runs.items() if heartbeat[0] == status}


@contextmanager
def _collect(errors: list[Exception]) -> Iterator[None]:
    # An error of one run does not keep the others from being handled.
    try:
        yield
    except Exception as error:
        errors.append(error)
