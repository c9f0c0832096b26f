"""What runs do now: phase, position in the queue, seconds per epoch; as far as each is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from service.flows.cache import Cache
from service.flows.dispatch import task_name
from service.jobs import Executor
from service.store import epochs, runs
from service.store.run_status import RunPhase, RunStatus
from service.store.runs import RunProgress
from service.store.store import Store

PACE_EPOCHS = 5
"""The number of last epochs that determine the seconds per epoch."""
MAX_CACHED_RUNS = 1_000


@dataclass(frozen=True)
class RunActivity:
    """What a run does now. Everything is None for a run that has ended."""

    phase: RunPhase | None = None
    queue_position: int | None = None  # 1 for the next run to start; None once it has
    seconds_per_epoch: float | None = None  # None before epoch 1 is recorded


class RunActivities:
    """Determines the activities of runs. Thread-safe."""

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._paces: Cache[float] = Cache(MAX_CACHED_RUNS, lambda _: 1)

    def get(self, runs_by_id: Mapping[int, RunProgress]) -> dict[int, RunActivity]:
        """The activity of each run by id. Reads the database only if runs are queued or have a
        new epoch.
        """
        is_any_queued = any(run.status == RunStatus.QUEUED for run in runs_by_id.values())
        paces = {
            run_id: self._paces.get((run_id, run.epochs_done))
            for run_id, run in runs_by_id.items()
            if run.status == RunStatus.RUNNING and run.epochs_done >= 1
        }
        positions: dict[int, int] = {}
        if is_any_queued or None in paces.values():
            with self._store.read_session() as session:
                if is_any_queued:
                    positions = self._queue_positions(session)
                for run_id in [run_id for run_id, pace in paces.items() if pace is None]:
                    paces[run_id] = self._pace(session, run_id, runs_by_id[run_id].epochs_done)
        return {
            run_id: self._activity(run_id, run, positions, paces)
            for run_id, run in runs_by_id.items()
        }

    def _activity(
        self,
        run_id: int,
        run: RunProgress,
        positions: Mapping[int, int],
        paces: Mapping[int, float | None],
    ) -> RunActivity:
        if run.status == RunStatus.RUNNING:
            return RunActivity(run.phase, seconds_per_epoch=paces.get(run_id))
        if run.status == RunStatus.QUEUED and self._has_started(run_id, run.phase):
            return RunActivity(RunPhase.STARTING)
        return RunActivity(queue_position=positions.get(run_id))

    def _queue_positions(self, session: Any) -> dict[int, int]:
        """Positions by id, from 1, of the queued runs whose worker is not starting."""
        queue = runs.list_queue(session)
        waiting = [run.id for run in queue if not self._has_started(run.id, run.phase)]
        return {run_id: position for position, run_id in enumerate(waiting, 1)}

    def _has_started(self, run_id: int, phase: RunPhase | None) -> bool:
        # The process that dispatches knows it before it is in the database.
        return phase is not None or self._executor.has_started(task_name(run_id))

    def _pace(self, session: Any, run_id: int, last_epoch: int) -> float | None:
        """Seconds per epoch: the median of the last PACE_EPOCHS, of an even number the lower.

        An epoch takes from the recording of the previous one to its own. One that was interrupted
        takes longer; the lower median keeps it from counting where there are two.
        """
        intervals = epochs.recording_intervals(session, run_id, last_epoch, PACE_EPOCHS)
        if not intervals:
            return None
        pace = median_low(intervals)
        self._paces.put((run_id, last_epoch), pace)
        return pace
