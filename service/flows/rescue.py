"""Runs that nobody trains: found by what stands still, and given to a worker."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.errors import StoreUnavailable
from service.flows import training
from service.flows.heartbeats import HeartbeatMonitor
from service.flows.workspace import Workspace
from service.jobs import Executor
from service.store import run_lifecycle, runs
from service.store.run_lifecycle import Lease
from service.store.run_status import RunStatus
from service.store.runs import Run, RunError
from service.store.store import Store

Beat = tuple[str, int, int]

WORKER_LOST = RunError("worker_lost", "The worker that trained the run was not heard of any more.")


@dataclass
class LeaseMonitor:
    """Watches runs that run or wait. `look` is called now and then, from one thread.

    It trusts no moment in the database: a clock that was moved loses no live worker. A lease is
    lost when its heartbeat was seen not to change for its length by this process's own clock. A run
    that waited for so long, and not here, may be in the queue of a server that is gone: should it
    not be, of two workers one gets it.
    """

    store: Store
    executor: Executor
    workspace: Workspace
    _monitor: HeartbeatMonitor[int, Beat] = field(default_factory=HeartbeatMonitor)

    def scan(self, now_seconds: float | None = None) -> list[int]:
        """Give runs that nobody trains to a worker, or end them; returns their ids.

        `now_seconds` is a monotonic clock's. Raises StoreUnavailable, StoreFull, and whatever
        else kept a run from being handled, after the others were.
        """
        now = time.monotonic() if now_seconds is None else now_seconds
        try:
            with self.store.read_session() as session:
                running = runs.list_by_status(session, RunStatus.RUNNING)
                waiting = runs.list_by_status(session, RunStatus.QUEUED)
        except StoreUnavailable:
            # Who keeps all from reading may be a worker of ours that was stopped in its commit.
            for run_id in self._expired_run_ids(now, RunStatus.RUNNING):
                self.executor.kill(training.job_name(run_id))
            raise
        beats = {run.id: (run.status, run.attempt, run.heartbeats) for run in (*running, *waiting)}
        self._monitor.observe(beats, now)
        lost = [run for run in running if run.id in self._expired_run_ids(now, RunStatus.RUNNING)]
        still = self._expired_run_ids(now, RunStatus.QUEUED)
        left = [run for run in waiting if run.id in still and not self._is_local(run)]
        errors: list[Exception] = []
        for run in lost:
            with _collected(errors):
                self._reassign(run)
        for run in left:
            with _collected(errors):
                training.dispatch_run(self.store, self.executor, self.workspace, run)
                # Not at each look again.
                self._monitor.forget(run.id)
        if errors:
            raise errors[0]
        return [run.id for run in (*lost, *left)]

    def _reassign(self, run: Run) -> None:
        # First of all: stopped in a transaction, it would keep all others from writing.
        self.executor.kill(training.job_name(run.id))
        lease = Lease(run.id, run.attempt, run.lease_owner or run_lifecycle.NO_OWNER)
        if training.requeue_or_fail(self.store, self.workspace, lease, WORKER_LOST):
            training.dispatch_run(self.store, self.executor, self.workspace, run)

    def _is_local(self, run: Run) -> bool:
        return self.executor.has_task(training.job_name(run.id))

    def _expired_run_ids(self, now: float, status: str) -> set[int]:
        """Runs of which nothing was heard for the length of a lease."""
        stopped = self._monitor.stopped(now, self.workspace.lease_seconds)
        return {run_id for run_id, beat in stopped.items() if beat[0] == status}


@contextmanager
def _collected(errors: list[Exception]) -> Iterator[None]:
    # Of one run: the others are handled all the same.
    try:
        yield
    except Exception as error:
        errors.append(error)
