"""A state machine of runs: clients, workers and faults act on a store and on its model."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from service.core.images import probe_images
from service.core.spec import RunSpec
from service.core.training import EpochResult
from service.errors import InvalidValue, KeyReused, RunCancelled, RunConflict, RunNotFound
from service.flows import deletion
from service.flows import runs as run_flows
from service.flows.dispatch import LeaseMonitor, dispatch_queued, task_name
from service.flows.recording import record_epoch
from service.flows.workspace import Workspace
from service.store import deleted_runs, epochs, events, run_lifecycle, runs
from service.store.request_keys import RequestKey
from service.store.rows import Base
from service.store.run_lifecycle import Lease
from service.store.run_status import RunStatus
from service.store.store import Store
from tests.faults.expected import MAX_ATTEMPTS, Expected
from tests.faults.recording_executor import RecordingExecutor, SubmittedTask
from tests.torture import invariants

MAX_EPOCHS = 4
MAX_RUNS = 3  # simultaneous runs; with more, each would have fewer events
LEASE_SECONDS = 30.0
SPEC = RunSpec.model_validate(
    {
        "dataset": "digits",
        "architecture": {"channels": [2, 3], "hidden_units": 8},
        "samples_per_epoch": 20,
        "epochs": MAX_EPOCHS,
        "probes": {"per_class": 0, "images": ["test:0"]},
    }
)


class Worker:
    """A worker with its lease; the server that started it may have ended."""

    def __init__(self, submitted: SubmittedTask, lease: Lease, model: Expected) -> None:
        self.submitted = submitted
        self.lease = lease
        self.epochs_done, self.epochs_total = model.epochs_done, model.epochs_total
        self.sends_heartbeats = True


class Histories(RuleBasedStateMachine):
    """A service with clients and running, stopped or orphaned workers, and a model of its runs."""

    ids = Bundle("ids")
    workers = Bundle("workers")

    def __init__(self, store: Store, results: Sequence[EpochResult], digests: list[str]) -> None:
        super().__init__()
        with store.engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
        self.store, self.results, self.digests = store, results, digests
        self.probes = probe_images(SPEC.source.load(Path(), False), SPEC.probes, {})
        self.workspace = Workspace(
            "", "", Path(), lease_seconds=LEASE_SECONDS, max_attempts=MAX_ATTEMPTS
        )
        self.model: dict[int, Expected] = {}
        self.keys: dict[str, tuple[int, int]] = {}
        self.all_workers: list[Worker] = []
        self.clock_seconds = 0.0
        self.executor = RecordingExecutor(store)
        self.lease_monitor = LeaseMonitor(store, self.executor, self.workspace)

    def holds(self, worker: Worker) -> bool:
        expected = self.model.get(worker.lease.run_id)
        return expected is not None and expected.holder == worker.lease

    def is_known(self, run_id: int) -> bool:
        return self.executor.has_task(task_name(run_id))

    # Clients.

    @initialize(target=ids, total=st.integers(1, 3))
    def create_first_run(self, total: int):
        return self.create(None, total)

    @precondition(lambda self: len(self.model) < MAX_RUNS)
    @rule(target=ids, key=st.sampled_from([None, "a", "b"]), total=st.integers(1, 3))
    def create(self, key: str | None, total: int):
        request_key = RequestKey(key, str(total)) if key else None
        spec = SPEC.model_copy(update={"epochs": total})
        args = (self.store, self.executor, self.workspace, spec, None, request_key)
        entry = self.keys.get(key) if key else None
        if entry and entry[0] != total:
            with pytest.raises(KeyReused):
                run_flows.start_run_once(*args)
            return multiple()
        if entry and entry[1] not in self.model:
            with pytest.raises(RunNotFound):
                run_flows.start_run_once(*args)
            return multiple()
        run, is_replayed = run_flows.start_run_once(*args)
        assert is_replayed == bool(entry)
        if entry:
            assert run.id == entry[1]
            return multiple()
        assert run.id not in self.model
        self.model[run.id] = Expected(total)
        if key:
            self.keys[key] = (total, run.id)
        return run.id

    @precondition(lambda self: len(self.model) < MAX_RUNS)
    @rule(target=ids, total=st.integers(1, 3))
    def create_on_a_server_that_dies(self, total: int) -> int:
        spec = SPEC.model_copy(update={"epochs": total})
        run = run_flows.start_run(self.store, RecordingExecutor(self.store), self.workspace, spec)
        self.model[run.id] = Expected(total)
        return run.id

    @rule(run_id=ids)
    def cancel(self, run_id: int) -> None:
        expected = self.model.get(run_id)
        if expected is None:
            with pytest.raises(RunNotFound):
                run_flows.cancel_run(self.store, run_id)
        elif expected.is_terminal:
            with pytest.raises(RunConflict):
                run_flows.cancel_run(self.store, run_id)
        else:
            expected.cancel()
            assert run_flows.cancel_run(self.store, run_id).status == expected.status

    @rule(run_id=ids, additional_epochs=st.sampled_from([None, 0, 1, 2]))
    def resume(self, run_id: int, additional_epochs: int | None) -> None:
        expected = self.model.get(run_id)
        epochs_total = (
            None
            if additional_epochs is None or expected is None
            else max(1, expected.epochs_done + additional_epochs)
        )
        args = (self.store, self.executor, self.workspace, run_id, epochs_total)
        total = epochs_total or (expected.epochs_total if expected else 0)
        if expected is None:
            with pytest.raises(RunNotFound):
                run_flows.resume_run(*args)
        elif not expected.is_terminal:
            with pytest.raises(RunConflict):
                run_flows.resume_run(*args)
        elif (
            epochs_total or expected.status == RunStatus.SUCCEEDED
        ) and total <= expected.epochs_done:
            with pytest.raises(InvalidValue):
                run_flows.resume_run(*args)
        elif total <= MAX_EPOCHS:
            assert run_flows.resume_run(*args).status == RunStatus.QUEUED
            expected.resume(total)

    @precondition(lambda self: len(self.model) > 1)
    @rule(run_id=ids)
    def delete(self, run_id: int) -> None:
        expected = self.model.get(run_id)
        if expected is None:
            with pytest.raises(RunNotFound):
                deletion.delete_run(self.store, run_id)
        elif expected.status == RunStatus.RUNNING:
            with pytest.raises(RunConflict):
                deletion.delete_run(self.store, run_id)
        else:
            deletion.delete_run(self.store, run_id)
            del self.model[run_id]

    @rule()
    def free_deleted_space(self) -> None:
        with self.store.read_session() as session:
            run_ids = deleted_runs.list_ids(session)
        for run_id in run_ids:
            with self.store.write_session() as session:
                if not deleted_runs.free_batch(session, self.store.blobs, run_id, 1):
                    deleted_runs.delete_run(session, self.store.blobs, run_id)

    # Workers.

    @precondition(lambda self: self.executor.waiting)
    @rule(target=workers, data=st.data(), epochs=st.integers(0, 3))
    def claim_and_train(self, data: st.DataObject, epochs: int):
        submitted = data.draw(st.sampled_from(self.executor.waiting))
        expected = self.model.get(submitted.run_id)
        waits = expected is not None and expected.status == RunStatus.QUEUED
        assert submitted.job.should_start() == waits
        # A worker may start just before its run ends or is claimed by another.
        lease = self.executor.take(submitted)
        assert (lease is not None) == waits
        if lease is None or expected is None:
            return multiple()
        expected.claim(lease)
        worker = Worker(submitted, lease, expected)
        self.all_workers.append(worker)
        for _ in range(epochs):
            self.commit_epoch(worker)
        return worker

    @rule(worker=workers)
    def commit_epoch(self, worker: Worker) -> None:
        if worker.epochs_done == worker.epochs_total or worker not in self.all_workers:
            return
        result = self.results[worker.epochs_done + 1]
        args = (self.store, worker.lease.run_id, SPEC, result, self.probes, worker.lease)
        if not self.holds(worker):
            with pytest.raises(RunCancelled):
                record_epoch(*args)
            return
        record_epoch(*args)
        worker.epochs_done += 1
        self.model[worker.lease.run_id].advance(worker.epochs_done)

    @rule(worker=consumes(workers))
    def end(self, worker: Worker) -> None:
        if worker not in self.all_workers:
            return
        expected = self.model.get(worker.lease.run_id)
        status = (
            RunStatus.SUCCEEDED if worker.epochs_done == worker.epochs_total else RunStatus.FAILED
        )
        with self.store.write_session() as session:
            has_finished = run_lifecycle.finish(
                session, worker.lease.run_id, status, lease=worker.lease
            )
        assert has_finished == self.holds(worker)
        if has_finished and expected:
            expected.finish(status)
        self.lose_worker(worker)
        self.executor.end(worker.submitted, 0)

    @rule(worker=consumes(workers))
    def crash(self, worker: Worker) -> None:
        if worker.submitted not in self.executor.running:
            return
        if self.holds(worker):
            self.model[worker.lease.run_id].lose_worker()
        self.lose_worker(worker)
        self.executor.end(worker.submitted, -signal.SIGKILL)

    @precondition(lambda self: self.executor.waiting)
    @rule(data=st.data())
    def crash_before_claim(self, data: st.DataObject) -> None:
        submitted = data.draw(st.sampled_from(self.executor.waiting))
        self.executor.waiting.remove(submitted)
        expected = self.model.get(submitted.run_id)
        if expected is None:
            with pytest.raises(RunNotFound):
                self.executor.end(submitted, -signal.SIGKILL)
            return
        if expected.status == RunStatus.QUEUED and expected.attempt == submitted.attempt:
            expected.lose_worker()
        self.executor.end(submitted, -signal.SIGKILL)

    @rule(worker=workers, with_its_server=st.booleans())
    def stop_worker(self, worker: Worker, with_its_server: bool) -> None:
        worker.sends_heartbeats = False
        if with_its_server and worker.submitted in self.executor.running:
            self.executor.running.remove(worker.submitted)

    @rule(worker=workers, with_its_server=st.booleans())
    def sleep_until_another_worker_claims(self, worker: Worker, with_its_server: bool) -> None:
        self.stop_worker(worker, with_its_server)
        self.let_leases_expire()
        for submitted in [
            waiting_task
            for waiting_task in self.executor.waiting
            if waiting_task.run_id == worker.lease.run_id
        ]:
            lease = self.executor.take(submitted)
            if lease is not None:
                self.model[submitted.run_id].claim(lease)
                self.all_workers.append(Worker(submitted, lease, self.model[submitted.run_id]))
        self.commit_epoch(worker)

    def lose_worker(self, worker: Worker) -> None:
        self.all_workers.remove(worker)

    # The service.

    @precondition(lambda self: self.all_workers or not self.executor.waiting)
    @rule()
    def let_leases_expire(self) -> None:
        assert self.lease_monitor.scan(self.clock_seconds) == []
        self.clock_seconds += LEASE_SECONDS + 1
        for worker in self.all_workers:
            if worker.sends_heartbeats:
                with self.store.write_session() as session:
                    is_held = run_lifecycle.update_heartbeat(
                        session, worker.lease.run_id, lease=worker.lease
                    )
                assert is_held == self.holds(worker)
        alive = {worker.lease for worker in self.all_workers if worker.sends_heartbeats}
        lost_ids = [i for i, run in self.model.items() if run.holder and run.holder not in alive]
        unknown = [
            i
            for i, run in self.model.items()
            if run.status == RunStatus.QUEUED and not self.is_known(i)
        ]
        assert sorted(self.lease_monitor.scan(self.clock_seconds)) == sorted(lost_ids + unknown)
        for run_id in lost_ids:
            self.model[run_id].lose_worker()
        assert all(
            self.is_known(i) for i, run in self.model.items() if run.status == RunStatus.QUEUED
        )
        killed, self.executor.killed = self.executor.killed, []
        for submitted in killed:
            for worker in [
                candidate for candidate in self.all_workers if candidate.submitted is submitted
            ]:
                self.lose_worker(worker)
            # Its exit is reported after the run was assigned to another worker.
            self.executor.end(submitted, -signal.SIGKILL)

    @precondition(lambda self: self.all_workers)
    @rule(in_order=st.booleans())
    def restart(self, in_order: bool) -> None:
        """Restarts the service after SIGTERM, or after SIGKILL with orphaned workers."""
        for worker in [
            candidate
            for candidate in self.all_workers
            if candidate.submitted in self.executor.running
        ]:
            worker.sends_heartbeats = False
            if in_order:
                if self.holds(worker):
                    self.model[worker.lease.run_id].lose_worker(count=0)
                self.lose_worker(worker)
                self.executor.end(worker.submitted, -signal.SIGTERM, during_shutdown=True)
        self.executor = RecordingExecutor(self.store)
        self.lease_monitor = LeaseMonitor(self.store, self.executor, self.workspace)
        dispatch_queued(self.store, self.executor, self.workspace)
        assert all(
            self.is_known(i) for i, run in self.model.items() if run.status == RunStatus.QUEUED
        )

    # Invariants.

    @invariant()
    def store_equals_model(self) -> None:
        with self.store.read_session() as session:
            runs_by_id = {run.id: run for run in runs.list_newest(session, limit=1000)}
            assert runs_by_id.keys() == self.model.keys()
            for run_id, expected in self.model.items():
                run = runs_by_id[run_id]
                assert (run.status, run.epochs_done, run.epochs_total) == (
                    expected.status, expected.epochs_done, expected.epochs_total,
                )  # fmt: skip
                assert (run.attempt, run.lost_workers, run.cancel_requested) == (
                    expected.attempt, expected.lost_workers, expected.cancel_requested,
                )  # fmt: skip
                owner = expected.holder.owner if expected.holder else None
                assert run.lease_owner == owner
                assert (run.finished_at is not None) == expected.is_terminal
                assert [
                    event.data for event in events.list_after(session, run_id, 0)
                ] == expected.events
                epoch_rows = epochs.list_epochs(session, run_id)
                assert [epoch.epoch for epoch in epoch_rows] == list(
                    range(expected.epochs_done + 1)
                )
                assert [epoch.checkpoint.sha256 for epoch in epoch_rows] == self.digests[
                    : len(epoch_rows)
                ]

    def teardown(self) -> None:
        folder = self.store.file.parent if self.store.file else Path("nowhere")
        invariants.check(self.store, folder)
