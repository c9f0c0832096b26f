"""Changes of one run that meet: the later waits for the earlier, and decides by what that left."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.errors import RunConflict
from service.flows import deletion
from service.flows import runs as run_flows
from service.flows.dispatch import LeaseMonitor
from service.flows.workspace import Workspace
from service.store import run_lifecycle, runs
from service.store.run_status import RunStatus
from service.store.store import Store
from tests.faults.recording_executor import RecordingExecutor
from tests.faults.tiny import TINY
from tests.idle_executor import IdleExecutor

SPEC = RunSpec.model_validate(TINY)
LEASE_SECONDS = 30.0
Change = Callable[[Store, int], object]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace("", "", tmp_path, lease_seconds=LEASE_SECONDS)


@pytest.fixture
def waiting(store: Store, workspace: Workspace) -> int:
    return run_flows.start_run(store, IdleExecutor(), workspace, SPEC).id


@pytest.fixture
def cancelled(store: Store, waiting: int) -> int:
    return run_flows.cancel_run(store, waiting).id


def refusal_of(change: Change, store: Store, run_id: int, earlier: Change) -> Exception | None:
    """What `change` raised that was asked for while the transaction of `earlier` was open."""
    refusal: list[Exception] = []

    def ask() -> None:
        try:
            change(store, run_id)
        except Exception as error:
            refusal.append(error)

    asking = threading.Thread(target=ask)
    with store.write_session() as session:
        assert earlier(session, run_id)
        asking.start()
        asking.join(0.5)
        assert asking.is_alive(), "it did not wait"
    asking.join()
    return refusal[0] if refusal else None


def test_a_run_that_a_worker_is_taking_is_not_deleted(store: Store, waiting: int) -> None:
    refusal = refusal_of(
        deletion.delete_run,
        store,
        waiting,
        lambda session, run_id: run_lifecycle.claim(session, run_id, "worker"),
    )
    assert isinstance(refusal, RunConflict)
    with store.read_session() as session:
        assert runs.get(session, waiting).status == RunStatus.RUNNING


def test_a_run_that_is_being_resumed_is_not_resumed_again(store: Store, cancelled: int) -> None:
    refusal = refusal_of(
        lambda store, run_id: run_flows.extend_run(store, run_id, 7),
        store,
        cancelled,
        lambda session, run_id: run_lifecycle.resume(
            session, run_id, SPEC.model_dump(mode="json"), 5
        ),
    )
    assert isinstance(refusal, RunConflict)
    with store.read_session() as session:
        run = runs.get(session, cancelled)
    assert (run.status, run.epochs_total) == (RunStatus.QUEUED, 5)


class Deleting(RecordingExecutor):
    """While its worker is killed, a run is cancelled and deleted by somebody."""

    def kill(self, name: str) -> None:
        super().kill(name)
        run_id = self.killed[-1].run_id
        with self.store.write_session() as session:
            assert run_lifecycle.finish(session, run_id, RunStatus.CANCELLED)
        deletion.delete_run(self.store, run_id)


def test_a_run_deleted_while_it_is_rescued_is_in_no_other_runs_way(
    store: Store, workspace: Workspace
) -> None:
    executor = Deleting(store)
    first_id, second_id = (
        run_flows.start_run(store, executor, workspace, SPEC).id for _ in range(2)
    )
    executor.take(executor.waiting[0])
    executor.waiting.clear()  # as after a restart: the second is in no queue
    rescuer = LeaseMonitor(store, executor, workspace)
    assert rescuer.scan(0.0) == []
    assert rescuer.scan(LEASE_SECONDS + 1) == [first_id, second_id]
    assert [submitted.run_id for submitted in executor.killed] == [first_id]
    assert [submitted.run_id for submitted in executor.waiting] == [second_id]
