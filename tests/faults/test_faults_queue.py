"""The elected process dispatches the queued runs of all processes, and says which are starting."""

from pathlib import Path

import pytest

from service.flows.dispatch import QueueMonitor, task_name
from service.flows.run_activity import RunActivities, RunActivity
from service.flows.server_names import server_name
from service.flows.workspace import Workspace
from service.store import run_lifecycle, runs
from service.store.run_lifecycle import NO_OWNER, Lease
from service.store.run_status import RunPhase
from service.store.runs import QueuedRun, RunProgress
from service.store.store import Store
from tests.faults.test_faults_election import dead_server_name
from tests.idle_executor import IdleExecutor


class StartingExecutor(IdleExecutor):
    """An executor that starts the workers of some runs."""

    def __init__(self) -> None:
        super().__init__()
        self.started_ids: set[int] = set()

    def has_started(self, name: str) -> bool:
        return name in {task_name(run_id) for run_id in self.started_ids}

    @property
    def submitted(self) -> list[int]:
        return [task.arguments[1] for task in self.tasks]


@pytest.fixture
def executor() -> StartingExecutor:
    return StartingExecutor()


@pytest.fixture
def monitor(store: Store, executor: StartingExecutor, tmp_path: Path) -> QueueMonitor:
    return QueueMonitor(store, executor, Workspace("", "", tmp_path))


def queue_run(store: Store, dispatcher: str | None = None) -> int:
    with store.write_session() as session:
        return runs.create(session, "", [], {"epochs": 9}, 9, dispatcher).id


def activity_elsewhere(store: Store, run_id: int) -> RunActivity:
    """As another process sees it, whose executor knows no task."""
    with store.read_session() as session:
        run = runs.get(session, run_id)
    activities = RunActivities(store, IdleExecutor())
    return activities.get({run_id: RunProgress.from_run(run)})[run_id]


def test_each_queued_run_is_submitted_once_in_the_order_of_queueing(
    store: Store, monitor: QueueMonitor, executor: StartingExecutor
) -> None:
    first, second = queue_run(store), queue_run(store)
    with store.write_session() as session:  # a lost worker: back to the end of the queue
        lease = Lease(first, 0, NO_OWNER)
        assert run_lifecycle.requeue(session, lease, lost_workers=1)
    monitor.scan()
    monitor.scan()
    assert executor.submitted == [second, first]
    third = queue_run(store)
    monitor.scan()
    assert executor.submitted == [second, first, third]


def test_run_of_a_live_process_is_left_to_it_and_that_of_a_dead_one_is_not(
    store: Store, monitor: QueueMonitor, executor: StartingExecutor
) -> None:
    queue_run(store, server_name())
    queue_run(store, "a process of another machine")
    stranded = queue_run(store, dead_server_name())
    monitor.scan()
    assert executor.submitted == [stranded]


def test_run_deleted_before_it_is_submitted_does_not_keep_the_others(
    store: Store,
    monitor: QueueMonitor,
    executor: StartingExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept_id = queue_run(store)
    deleted = QueuedRun(kept_id + 1, None, None)
    list_queue = runs.list_queue
    monkeypatch.setattr(runs, "list_queue", lambda session: [deleted, *list_queue(session)])
    monitor.scan()
    assert executor.submitted == [kept_id]


def test_phase_and_positions_are_the_same_in_other_processes(
    store: Store, monitor: QueueMonitor, executor: StartingExecutor
) -> None:
    starting, waiting = queue_run(store), queue_run(store)
    monitor.scan()
    assert activity_elsewhere(store, waiting) == RunActivity(queue_position=2)
    executor.started_ids = {starting}
    monitor.scan()  # most workers claim their run before the next scan
    assert activity_elsewhere(store, starting) == RunActivity(queue_position=1)
    monitor.scan()
    assert activity_elsewhere(store, starting) == RunActivity(RunPhase.STARTING)
    assert activity_elsewhere(store, waiting) == RunActivity(queue_position=1)
    executor.started_ids = set()
    monitor.scan()
    assert activity_elsewhere(store, starting) == RunActivity(queue_position=1)


def test_phase_that_a_dead_process_recorded_is_corrected(
    store: Store, monitor: QueueMonitor
) -> None:
    run_id = queue_run(store)
    with store.write_session() as session:
        assert run_lifecycle.set_starting(session, run_id, True)
    assert activity_elsewhere(store, run_id) == RunActivity(RunPhase.STARTING)
    monitor.scan()
    assert activity_elsewhere(store, run_id) == RunActivity(queue_position=1)


def test_phase_of_a_run_that_has_left_the_queue_is_not_changed(store: Store) -> None:
    run_id = queue_run(store)
    with store.write_session() as session:
        assert run_lifecycle.claim(session, run_id)
        assert not run_lifecycle.set_starting(session, run_id, False)
    assert activity_elsewhere(store, run_id) == RunActivity(RunPhase.STARTING)
