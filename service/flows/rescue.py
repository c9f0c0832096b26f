"""Runs whose worker is gone: found by a heartbeat that stands still, and given to another."""

import time
from dataclasses import dataclass, field

from service.flows import training
from service.flows.workspace import Workspace
from service.jobs import Executor
from service.store import runs
from service.store.runs import Lease, Run, RunError
from service.store.store import Store

LOST = RunError("worker_lost", "The worker that trained the run was not heard of any more.")


@dataclass
class Rescuer:
    """Watches running runs. `look` is called now and then, from one thread.

    It trusts no moment in the database: a clock that was moved loses no live worker. A lease is
    lost when its heartbeat was seen not to change for its length by this process's own clock.
    """

    store: Store
    executor: Executor
    workspace: Workspace
    _seen: dict[int, tuple[tuple[int, int], float]] = field(default_factory=dict)

    def look(self, now_seconds: float | None = None) -> list[int]:
        """Give lost runs to another worker, or end them; returns their ids.

        `now_seconds` is a monotonic clock's. Raises StoreBusy, StoreFull.
        """
        now = time.monotonic() if now_seconds is None else now_seconds
        with self.store.reading() as session:
            running = runs.with_status(session, runs.RUNNING)
        self._seen = {run.id: self._observed(run, now) for run in running}
        lost = [
            run for run in running if now - self._seen[run.id][1] > self.workspace.lease_seconds
        ]
        for run in lost:
            lease = Lease(run.id, run.attempt, run.lease_owner or "")
            if training.abandon(self.store, self.workspace, lease, LOST):
                training.submit(self.store, self.executor, self.workspace, run.id)
        return [run.id for run in lost]

    def _observed(self, run: Run, now: float) -> tuple[tuple[int, int], float]:
        beat = (run.attempt, run.heartbeats)
        before = self._seen.get(run.id)
        return before if before and before[0] == beat else (beat, now)
