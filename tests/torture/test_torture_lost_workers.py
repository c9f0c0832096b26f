"""A worker that dies before it takes its run counts as a lost worker."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.flows import dispatch
from service.flows import runs as run_flows
from service.flows.dispatch import LeaseMonitor
from service.flows.workspace import Workspace
from service.jobs import ProcessExit
from service.store import run_lifecycle, runs, schema
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import Store, open_store
from service.store_errors import StatementRefused
from tests.idle_executor import IdleExecutor

KILLED = ProcessExit(-signal.SIGKILL, during_shutdown=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(f"sqlite:///{tmp_path / 'camreel.db'}", "sql", tmp_path, max_attempts=3)


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with open_store(workspace.database) as opened_store:
        schema.ensure(opened_store)
        yield opened_store


@pytest.fixture
def executor() -> IdleExecutor:
    return IdleExecutor()


@pytest.fixture
def run(store: Store, executor: IdleExecutor, workspace: Workspace) -> Run:
    return run_flows.start_run(store, executor, workspace, RunSpec(dataset="digits"))


def get_run(store: Store, run: Run) -> Run:
    with store.read_session() as session:
        return runs.get(session, run.id)


def test_run_is_given_to_another_worker_if_the_first_dies_before_it_takes_it(
    store, executor, run
) -> None:
    executor.tasks[0].on_exit(KILLED)
    assert (get_run(store, run).status, get_run(store, run).lost_workers) == (RunStatus.QUEUED, 1)
    assert [task.arguments[1] for task in executor.tasks] == [run.id, run.id]


def test_run_fails_after_three_dead_workers_whether_they_took_it_or_not(
    store, executor, run
) -> None:
    executor.tasks[0].on_exit(KILLED)
    with store.write_session() as session:
        assert run_lifecycle.claim(session, run.id, executor.tasks[1].arguments[2])
    executor.tasks[1].on_exit(KILLED)
    assert get_run(store, run).status == RunStatus.QUEUED
    executor.tasks[2].on_exit(KILLED)
    final_run = get_run(store, run)
    assert (final_run.status, final_run.error.type) == (RunStatus.FAILED, "worker_killed")
    assert len(executor.tasks) == 3


def test_late_death_of_a_worker_does_not_count_for_a_run_taken_by_another(
    store, executor, run
) -> None:
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, run.id, "another service's worker")
        assert run_lifecycle.requeue(session, lease, lost_workers=0)
    executor.tasks[0].on_exit(KILLED)
    assert (get_run(store, run).status, get_run(store, run).lost_workers) == (RunStatus.QUEUED, 0)
    assert len(executor.tasks) == 1


def test_run_cancelled_during_its_workers_start_stays_cancelled(store, executor, run) -> None:
    run_flows.cancel_run(store, run.id)
    executor.tasks[0].on_exit(KILLED)
    assert get_run(store, run).status == RunStatus.CANCELLED
    assert len(executor.tasks) == 1


def test_error_for_one_run_does_not_keep_the_monitor_from_others(
    store, executor, workspace, monkeypatch
) -> None:
    spec = RunSpec(dataset="digits")
    first_run, second_run = (
        run_flows.start_run(store, executor, workspace, spec) for _ in range(2)
    )
    with store.write_session() as session:
        for run in (first_run, second_run):
            assert run_lifecycle.claim(session, run.id, "gone")
    requeue_or_fail = dispatch.requeue_or_fail

    def fail_for_the_first(store, workspace, lease, cause) -> bool:
        if lease.run_id == first_run.id:
            raise StatementRefused("a bug")
        return requeue_or_fail(store, workspace, lease, cause)

    monkeypatch.setattr(dispatch, "requeue_or_fail", fail_for_the_first)
    lease_monitor = LeaseMonitor(store, executor, workspace)
    lease_monitor.scan(0)
    with pytest.raises(StatementRefused):
        lease_monitor.scan(workspace.lease_seconds + 1)
    assert (get_run(store, first_run).status, get_run(store, second_run).status) == (
        RunStatus.RUNNING,
        RunStatus.QUEUED,
    )
