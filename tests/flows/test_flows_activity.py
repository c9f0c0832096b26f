"""Current activity of runs: reported phases, place in the queue, and seconds per epoch."""

import time
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.flows import runs as run_flows
from service.flows.dispatch import task_name
from service.flows.run_activity import RunActivities, RunActivity
from service.flows.worker import Heartbeat
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import epochs, run_lifecycle, runs
from service.store.epochs import Checkpoint, Epoch, EpochMetrics
from service.store.run_lifecycle import EpochProgress, Lease
from service.store.run_status import RunPhase, RunStatus
from service.store.runs import RunProgress
from service.store.store import Store
from tests.faults.tiny import TINY
from tests.idle_executor import IdleExecutor

METRICS = EpochMetrics(0.5, 0.8, 0.4, 0.9, [0.25, 1.0], 1.0, 1.5)
EPOCH_0_AT = datetime(2026, 1, 1, tzinfo=UTC)


class StartingExecutor(IdleExecutor):
    """An executor that starts the worker of one run."""

    def __init__(self, task_name: str) -> None:
        super().__init__()
        self._task_name = task_name

    def has_started(self, name: str) -> bool:
        return name == self._task_name


def new_run(store: Store) -> int:
    with store.write_session() as session:
        return runs.create(session, "", [], {"epochs": 9}, 9).id


def activity_of(store: Store, activities: RunActivities, run_id: int) -> RunActivity:
    with store.read_session() as session:
        run = runs.get(session, run_id)
    return activities.get({run_id: RunProgress.from_run(run)})[run_id]


def test_worker_reports_each_phase_of_each_epoch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[EpochProgress] = []
    monkeypatch.setattr(Heartbeat, "report", lambda _, progress: reports.append(progress))
    workspace = Workspace(str(store.engine.url), "sql", tmp_path)
    spec = RunSpec.model_validate(TINY | {"epochs": 2, "batch_size": 25})
    run = run_flows.start_run(store, InlineExecutor(), workspace, spec)
    phases = [key for key, _ in groupby((report.epoch, str(report.phase)) for report in reports)]
    assert phases == [
        *((0, phase) for phase in ("loading", "evaluating", "recording")),
        *((1, phase) for phase in ("training", "evaluating", "recording")),
        *((2, phase) for phase in ("training", "evaluating", "recording")),
    ]
    image_counts = [report.images_seen for report in reports if report.epoch == 1]
    assert image_counts == [0, 25, 50, 60, 60]
    with store.read_session() as session:
        finished = runs.get(session, run.id)
    assert (finished.status, finished.phase) == (RunStatus.SUCCEEDED, None)


def test_new_phase_is_recorded_immediately_and_batches_are_not(store: Store) -> None:
    run_id = new_run(store)
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, run_id, "worker")
    assert lease is not None

    def heartbeats_and_phase() -> tuple[int, RunPhase | None]:
        with store.read_session() as session:
            run = runs.get(session, run_id)
        return run.heartbeats, run.phase

    heartbeat_count, _ = heartbeats_and_phase()
    with Heartbeat(store, lease, lease_seconds=600) as heartbeat:
        heartbeat.report(EpochProgress(0, RunPhase.LOADING))
        deadline = time.monotonic() + 20
        while heartbeats_and_phase()[1] != RunPhase.LOADING:
            assert time.monotonic() < deadline
        for images_seen in range(1000):
            heartbeat.report(EpochProgress(0, RunPhase.LOADING, images_seen))
    assert heartbeats_and_phase() == (heartbeat_count + 1, RunPhase.LOADING)


def test_queue_is_in_the_order_of_queueing_without_started_runs(store: Store) -> None:
    starting, first, second = (new_run(store) for _ in range(3))
    with store.write_session() as session:  # a lost worker: back to the end of the queue
        lease = run_lifecycle.claim(session, first)
        assert lease is not None
        assert run_lifecycle.requeue(session, lease, lost_workers=1)
    activities = RunActivities(store, StartingExecutor(task_name(starting)))
    assert activity_of(store, activities, starting) == RunActivity(RunPhase.STARTING)
    assert activity_of(store, activities, second) == RunActivity(queue_position=1)
    assert activity_of(store, activities, first) == RunActivity(queue_position=2)


def test_phase_of_a_running_run_is_its_workers(store: Store) -> None:
    run_id = new_run(store)
    activities = RunActivities(store, IdleExecutor())
    with store.write_session() as session:
        run_lifecycle.claim(session, run_id)
    assert activity_of(store, activities, run_id) == RunActivity(RunPhase.STARTING)
    with store.write_session() as session:
        run_lifecycle.finish(session, run_id, RunStatus.CANCELLED)
    assert activity_of(store, activities, run_id) == RunActivity()


@pytest.mark.parametrize(
    ("seconds", "pace"),
    [
        ([], None),
        ([7.0], 7.0),
        ([7.0, 600.0], 7.0),  # an interruption
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 4.0),  # the last five
        ([-30.0, 3.0], 3.0),  # the clock was set back
        ([-30.0], None),
    ],
    ids=str,
)
def test_seconds_per_epoch_are_the_lower_median_of_the_last_five(
    store: Store, seconds: list[float], pace: float | None
) -> None:
    run_id = new_run(store)
    with store.write_session() as session:
        run_lifecycle.claim(session, run_id)
        for epoch in range(len(seconds) + 1):
            at = EPOCH_0_AT + timedelta(seconds=sum(seconds[:epoch]))
            checkpoint = Checkpoint(f"{epoch:064x}", 5, f"{run_id}/{epoch}")
            epochs.restore(session, Epoch(run_id, epoch, METRICS, checkpoint, at))
            run_lifecycle.advance(session, run_id, epoch, lease=Lease(run_id, 1, ""))
    activity = activity_of(store, RunActivities(store, IdleExecutor()), run_id)
    assert activity == RunActivity(RunPhase.TRAINING, seconds_per_epoch=pace)
