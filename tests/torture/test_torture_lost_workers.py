"""A worker that is lost before it took its run is a lost worker as any other."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.errors import StatementRefused
from service.flows import dispatch
from service.flows import runs as run_flows
from service.flows.dispatch import LeaseMonitor
from service.flows.workspace import Workspace
from service.jobs import ProcessExit, Task
from service.jobs.inline import InlineExecutor
from service.store import run_lifecycle, runs, schema
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import Store, open_store

KILLED = ProcessExit(-signal.SIGKILL, during_shutdown=False)


class IdleExecutor(InlineExecutor):
    """Keeps jobs, and starts none."""

    def __init__(self) -> None:
        self.jobs: list[Task] = []

    def submit(self, job: Task) -> None:
        self.jobs.append(job)


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


def read(store: Store, run: Run) -> Run:
    with store.read_session() as session:
        return runs.get(session, run.id)


def test_a_run_whose_worker_died_before_it_took_it_is_given_to_another(
    store, executor, run
) -> None:
    executor.jobs[0].on_exit(KILLED)
    assert (read(store, run).status, read(store, run).lost_workers) == (RunStatus.QUEUED, 1)
    assert [job.arguments[1] for job in executor.jobs] == [run.id, run.id]


def test_a_run_that_three_workers_died_for_has_failed_whether_they_took_it_or_not(
    store, executor, run
) -> None:
    executor.jobs[0].on_exit(KILLED)
    with store.write_session() as session:
        assert run_lifecycle.claim(session, run.id, executor.jobs[1].arguments[2])
    executor.jobs[1].on_exit(KILLED)
    assert read(store, run).status == RunStatus.QUEUED
    executor.jobs[2].on_exit(KILLED)
    final_run = read(store, run)
    assert (final_run.status, final_run.error.type) == (RunStatus.FAILED, "worker_killed")
    assert len(executor.jobs) == 3


def test_a_worker_that_died_late_does_not_count_against_a_run_that_was_taken_since(
    store, executor, run
) -> None:
    with store.write_session() as session:
        lease = run_lifecycle.claim(session, run.id, "another service's worker")
        assert run_lifecycle.requeue(session, lease, lost_workers=0)
    executor.jobs[0].on_exit(KILLED)
    assert (read(store, run).status, read(store, run).lost_workers) == (RunStatus.QUEUED, 0)
    assert len(executor.jobs) == 1


def test_a_run_that_was_cancelled_while_its_worker_began_stays_so(store, executor, run) -> None:
    run_flows.cancel_run(store, run.id)
    executor.jobs[0].on_exit(KILLED)
    assert read(store, run).status == RunStatus.CANCELLED
    assert len(executor.jobs) == 1


def test_a_run_that_cannot_be_handled_is_in_no_other_runs_way(
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
    rescuer = LeaseMonitor(store, executor, workspace)
    rescuer.scan(0)
    with pytest.raises(StatementRefused):
        rescuer.scan(workspace.lease_seconds + 1)
    assert (read(store, first_run).status, read(store, second_run).status) == (
        RunStatus.RUNNING,
        RunStatus.QUEUED,
    )
