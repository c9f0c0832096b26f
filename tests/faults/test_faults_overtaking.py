"""Concurrent changes of one run are serialized; each decides on the state left by the previous."""

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
def queued_id(store: Store, workspace: Workspace) -> int:
    return run_flows.start_run(store, IdleExecutor(), workspace, SPEC).id


@pytest.fixture
def cancelled_id(store: Store, queued_id: int) -> int:
    return run_flows.cancel_run(store, queued_id).id


def refusal_of(change: Change, store: Store, run_id: int, earlier: Change) -> Exception | None:
    """The exception of `change`, called while the transaction of `earlier` is open, if any."""
    refusal: list[Exception] = []

    def call_change() -> None:
        try:
            change(store, run_id)
        except Exception as error:
            refusal.append(error)

    thread = threading.Thread(target=call_change)
    with store.write_session() as session:
        assert earlier(session, run_id)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive(), "the change did not wait"
    thread.join()
    return refusal[0] if refusal else None


def test_run_being_claimed_is_not_deleted(store: Store, queued_id: int) -> None:
    refusal = refusal_of(
        deletion.delete_run,
        store,
        queued_id,
        lambda session, run_id: run_lifecycle.claim(session, run_id, "worker"),
    )
    assert isinstance(refusal, RunConflict)
    with store.read_session() as session:
        assert runs.get(session, queued_id).status == RunStatus.RUNNING


def test_run_being_resumed_is_not_resumed_again(store: Store, cancelled_id: int) -> None:
    refusal = refusal_of(
        lambda store, run_id: run_flows.extend_run(store, run_id, 7),
        store,
        cancelled_id,
        lambda session, run_id: run_lifecycle.resume(
            session, run_id, SPEC.model_dump(mode="json"), 5
        ),
    )
    assert isinstance(refusal, RunConflict)
    with store.read_session() as session:
        run = runs.get(session, cancelled_id)
    assert (run.status, run.epochs_total) == (RunStatus.QUEUED, 5)


class DeletingExecutor(RecordingExecutor):
    """Cancels and deletes a run while its worker is killed."""

    def kill(self, name: str) -> None:
        super().kill(name)
        run_id = self.killed[-1].run_id
        with self.store.write_session() as session:
            assert run_lifecycle.finish(session, run_id, RunStatus.CANCELLED)
        deletion.delete_run(self.store, run_id)


def test_run_deleted_during_its_recovery_does_not_delay_others(
    store: Store, workspace: Workspace
) -> None:
    executor = DeletingExecutor(store)
    first_id, second_id = (
        run_flows.start_run(store, executor, workspace, SPEC).id for _ in range(2)
    )
    executor.take(executor.waiting[0])
    executor.waiting.clear()  # as after a restart: the second run is in no queue
    lease_monitor = LeaseMonitor(store, executor, workspace)
    assert lease_monitor.scan(0.0) == []
    assert lease_monitor.scan(LEASE_SECONDS + 1) == [first_id, second_id]
    assert [submitted.run_id for submitted in executor.killed] == [first_id]
    assert [submitted.run_id for submitted in executor.waiting] == [second_id]
