"""The story of a run: started, trained in a worker, ended; and picked up after a restart."""

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from service import logs
from service.background import BackgroundTask
from service.core import checkpoints
from service.core.allocator import keep_freed_memory
from service.core.datasets.dataset import Dataset, is_upload
from service.core.images import ProbeImage, probe_images, to_png
from service.core.spec import MAX_EPOCHS, RunSpec
from service.core.training import train
from service.core.training_state import TrainingState
from service.errors import (
    CheckpointCorrupt,
    ImageNotFound,
    InvalidValue,
    RunCancelled,
    RunConflict,
    RunNotFound,
    StoreFull,
    StoreUnavailable,
)
from service.flows import environment
from service.flows.quarantine import sound_checkpoint
from service.flows.recording import record_epoch
from service.flows.run_errors import cause_of, exit_code_of, run_error_of
from service.flows.workspace import Workspace
from service.jobs import Executor, ProcessExit, Task
from service.store import (
    epochs,
    images,
    request_keys,
    run_lifecycle,
    runs,
    training_states,
    uploaded_images,
)
from service.store.images import StoredImage
from service.store.request_keys import RequestKey
from service.store.run_lifecycle import Lease
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.runs import Run, RunError
from service.store.store import Store, open_store

CANCEL_POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 2.0
BEATS_A_LEASE = 3
HEARTBEAT_JOIN_SECONDS = 30.0  # longer than any wait for the database
BUSY_PAUSE_SECONDS = 5.0
"""A worker that the database did not answer waits so long before it gives up its attempt: the next
one starts at once, and a database that restarts is not to cost a run all that it has."""

WORKER_IMPORTS = (__name__, "service.core.compiler")
"""Modules that a worker's job needs, and takes seconds to import."""

log = structlog.get_logger()


def start_run(store: Store, executor: Executor, workspace: Workspace, spec: RunSpec) -> Run:
    """Queue a run of `spec` and hand it to the executor; returns it as it was queued.

    Raises InvalidValue where it is to watch an upload that is not there.
    """
    return start_run_once(store, executor, workspace, spec, None, None)[0]


def start_run_once(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    spec: RunSpec,
    max_queued: int | None,
    request_key: RequestKey | None,
) -> tuple[Run, bool]:
    """The same, once for each key: a run that was started under `asked` is returned with True.

    Raises QueueFull, KeyReused, InvalidValue for a device that no worker has, and RunNotFound where
    that run was deleted meanwhile, too.
    """
    run, replayed = create_run(store, executor, spec, max_queued, request_key)
    if not replayed:
        # After the commit: a worker that starts sooner would not find its run.
        dispatch_run(store, executor, workspace, run)
    return run, replayed


def create_run(
    store: Store,
    executor: Executor,
    spec: RunSpec,
    max_queued: int | None = None,
    request_key: RequestKey | None = None,
) -> tuple[Run, bool]:
    """What `start_run_once` does, but for handing the run to a worker."""
    with store.write_session() as session:
        earlier = request_keys.claim_key(session, request_key) if request_key else None
        if earlier is not None:
            return runs.get(session, int(earlier)), True
        environment.check_device(spec, executor)
        store.quota.check(session)
        if max_queued is not None:
            runs.check_queue_limit(session, max_queued)
        # In use from now on: they are not to be removed as unused while the run waits.
        if missing := uploaded_images.mark_used(session, spec.dataset, _uploads(spec)):
            raise InvalidValue("probes.images", f"{spec.dataset} has no upload {missing[0]}")
        run = runs.create(session, spec.name, spec.tags, spec.model_dump(mode="json"), spec.epochs)
        if request_key:
            request_keys.record_answer(session, request_key, str(run.id))
    return run, False


def cancel_run(store: Store, run_id: int) -> Run:
    """Ask for a run's end: at once if it waits, within a second if it trains.

    Raises RunNotFound, and RunConflict if it has ended.
    """
    with store.write_session() as session:
        run = runs.get_for_update(session, run_id)
        waiting = run_lifecycle.finish(
            session, run_id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
        if not waiting and not run_lifecycle.request_cancel(session, run_id):
            raise RunConflict(f"Run {run_id} has ended already: it {run.status}.")
        session.expire_all()
        return runs.get(session, run_id)


def resume_run(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    run_id: int,
    epochs_total: int | None,
    max_queued: int | None = None,
) -> Run:
    """Let a run that has ended go on from its last epoch, to `epochs_total` or what it was asked.

    Raises RunNotFound, RunConflict if it has not ended, its training state is not kept or no worker
    has its device, QueueFull where `max_queued` runs wait, and InvalidValue for a total that it has
    reached already or that no run may have.
    """
    run = extend_run(store, run_id, epochs_total, max_queued, executor)
    dispatch_run(store, executor, workspace, run)
    return run


def extend_run(
    store: Store,
    run_id: int,
    epochs_total: int | None,
    max_queued: int | None = None,
    executor: Executor | None = None,
) -> Run:
    """What `resume_run` does, but for handing it to a worker. No device is checked without one."""
    with store.write_session() as session:
        run = runs.get_for_update(session, run_id)
        if run.status not in TERMINAL_STATUSES:
            raise RunConflict(f"Run {run_id} has not ended: it is {run.status}.")
        total = run.epochs_total if epochs_total is None else epochs_total
        if epochs_total is not None or run.status == RunStatus.SUCCEEDED:
            _require_more(run, total)
        if executor is not None:
            environment.check_resumable(run, executor)
        state = training_states.get(session, run_id)
        if run.epochs_done >= 0 and (state is None or state.epoch != run.epochs_done):
            raise RunConflict(f"Run {run_id} cannot go on: its training state was not kept.")
        if max_queued is not None:
            runs.check_queue_limit(session, max_queued)
        run_lifecycle.resume(session, run_id, {**run.spec, "epochs": total}, total)
        session.expire_all()
        return runs.get(session, run_id)


def _require_more(run: Run, total: int) -> None:
    least = max(1, run.epochs_done + 1)
    if not least <= total <= MAX_EPOCHS:
        raise InvalidValue(
            "epochs",
            f"run {run.id} has reached epoch {run.epochs_done}, so the value is "
            f"{least} to {MAX_EPOCHS}",
            allowed={"minimum": least, "maximum": MAX_EPOCHS},
        )


def dispatch_queued(store: Store, executor: Executor, workspace: Workspace) -> None:
    """At a start of the service: queue again what waited."""
    with store.read_session() as session:
        waiting = runs.list_by_status(session, RunStatus.QUEUED)
    for run in waiting:
        dispatch_run(store, executor, workspace, run)


def requeue_or_fail(store: Store, workspace: Workspace, lease: Lease, cause: RunError) -> bool:
    """A worker is lost: its run waits for another, or fails after too many; whether it waits.

    Neither, if it is under another lease or was deleted.
    """
    with suppress(RunNotFound), store.write_session() as session:
        strikes = runs.get_for_update(session, lease.run_id).lost_workers + 1
        if strikes < workspace.max_attempts:
            return run_lifecycle.requeue(session, lease, lost_workers=1)
        since = (RunStatus.QUEUED, RunStatus.RUNNING)
        if run_lifecycle.finish(
            session, lease.run_id, RunStatus.FAILED, cause, from_statuses=since, lease=lease
        ):
            log.warning("run failed", run=lease.run_id, error=cause.type, attempts=strikes)
    return False


def run_worker(workspace: Workspace, run_id: int, owner: str) -> None:
    """A worker's job: `train_run`, and an exit code for what the database did not take."""
    try:
        train_run(workspace, run_id, owner)
    except (StoreUnavailable, StoreFull) as error:
        if isinstance(error, StoreUnavailable):
            time.sleep(BUSY_PAUSE_SECONDS)
        sys.exit(exit_code_of(error))


def train_run(workspace: Workspace, run_id: int, owner: str | None = None) -> None:
    """What a worker does: take the run, train on from its last epoch, record each, and end it.

    Raises StoreUnavailable where the database cannot be used, and StoreFull where it has no room
    for how the run ended: the run is then to be abandoned.
    """
    logs.configure()
    with open_store(workspace.database, workspace.blobs, workspace.bounds) as store:
        with store.write_session() as session:
            lease = run_lifecycle.claim(session, run_id, owner or new_owner())
            if lease is None:
                return
            run = runs.get(session, run_id)
            spec = RunSpec.model_validate(run.spec)
        status, error = RunStatus.SUCCEEDED, None
        try:
            with _heartbeats(store, lease, workspace.lease_seconds / BEATS_A_LEASE):
                environment.enter(store, lease, run, spec)
                _train(store, workspace, lease, spec)
        except RunCancelled:
            status = RunStatus.CANCELLED
        except StoreUnavailable:
            # Not the run's fault, and another worker may have better luck.
            raise
        except Exception as cause:
            status, error = RunStatus.FAILED, run_error_of(cause)
            # What was foreseen is told by the run itself; only the rest needs its traceback.
            log.warning("run failed", run=run_id, error=error.type, exc_info=error.type == "error")
        with store.write_session() as session:
            # Under its lease: a worker that woke up late ends nothing.
            run_lifecycle.finish(session, run_id, status, error, lease=lease)


def new_owner() -> str:
    """A name for a worker that no other has."""
    return secrets.token_hex(16)


@contextmanager
def _heartbeats(store: Store, lease: Lease, every_seconds: float) -> Iterator[None]:
    """Signs of life in a thread: loading data and testing an epoch have no batches to beat after.

    A heartbeat that changes nothing is the last: the lease is another's.
    """

    def beat() -> None:
        with _later(), store.write_session() as session:
            if not run_lifecycle.update_heartbeat(session, lease.run_id, lease=lease):
                task.request_stop()

    task = BackgroundTask(
        "heartbeat", beat, interval_seconds=every_seconds, max_backoff_seconds=every_seconds
    )
    task.start()
    try:
        yield
    finally:
        task.request_stop()
        task.join(HEARTBEAT_JOIN_SECONDS)


def _later() -> suppress:
    """What a database cannot take now is told at the next beat."""
    return suppress(StoreUnavailable, StoreFull)


def _train(store: Store, workspace: Workspace, lease: Lease, spec: RunSpec) -> None:
    keep_freed_memory()
    data = spec.source.load(workspace.data_dir, True)
    probes = probe_images(data, spec.probes, _uploaded(store, spec))
    with store.write_session() as session:
        images.set_probes(session, lease.run_id, [_stored(data, probe) for probe in probes])
    state = _training_state(store, lease.run_id)
    pulse = _Pulse(store, lease)
    for result in train(spec, data, resume_from=state, after_batch=pulse):
        record_epoch(store, lease.run_id, spec, result, probes, lease)


def _training_state(store: Store, run_id: int) -> TrainingState | None:
    """Where the run stands, None before epoch 0. Raises CheckpointCorrupt if it is damaged."""
    with store.read_session() as session:
        done = runs.get(session, run_id).epochs_done
        if done < 0:
            return None
        stored = training_states.get(session, run_id)
        if stored is None or stored.epoch != done:
            raise CheckpointCorrupt("The run's training state was not kept.")
        epoch = epochs.get(session, run_id, done)
        try:
            optimizer = store.blobs.get(session, stored.blob_key)
        except KeyError as error:
            raise CheckpointCorrupt("The run's training state is gone from the store.") from error
    if checkpoints.digest(optimizer) != stored.sha256:
        raise CheckpointCorrupt("The run's training state is not what was written.")
    return TrainingState(done, sound_checkpoint(store, epoch), optimizer)


def _uploads(spec: RunSpec) -> list[str]:
    return [text for text in dict.fromkeys(spec.probes.images) if is_upload(text)]


def _uploaded(store: Store, spec: RunSpec) -> dict[str, bytes]:
    """PNGs of the uploads that the run watches, by reference. Raises ImageNotFound."""
    found = {}
    for text in _uploads(spec):
        with store.read_session() as session:
            image = images.get(session, spec.dataset, text)
        if image is None:
            raise ImageNotFound(text, "it was removed while the run waited")
        found[text] = image.png
    return found


def _stored(data: Dataset, image: ProbeImage) -> StoredImage:
    return StoredImage(data.name, str(image.reference), image.label, to_png(image.pixels))


@dataclass
class _Pulse:
    """After each batch: a sign of life now and then, and a look whether the run was cancelled."""

    store: Store
    lease: Lease
    looked_at: float = field(default_factory=time.monotonic)
    written_at: float = field(default_factory=time.monotonic)

    def __call__(self, images_seen: int, images_of_epoch: int) -> None:
        now = time.monotonic()
        if now - self.looked_at >= CANCEL_POLL_SECONDS:
            self.looked_at = now
            with _later(), self.store.read_session() as session:
                if run_lifecycle.is_cancel_requested(session, self.lease.run_id):
                    raise RunCancelled(f"Run {self.lease.run_id} was cancelled.")
        # The last batch needs none: its epoch's record is one.
        if now - self.written_at >= HEARTBEAT_SECONDS and images_seen < images_of_epoch:
            self.written_at = now
            with _later(), self.store.write_session() as session:
                if not run_lifecycle.update_heartbeat(
                    session, self.lease.run_id, images_seen, lease=self.lease
                ):
                    raise RunCancelled(f"Run {self.lease.run_id} is another worker's.")


def job_name(run_id: int) -> str:
    """What an executor knows a run's jobs by."""
    return f"run-{run_id}"


def dispatch_run(store: Store, executor: Executor, workspace: Workspace, run: Run) -> None:
    """Hand a queued run to the executor; again, should its worker be lost."""
    owner = new_owner()
    ended = partial(_worker_ended, store, executor, workspace, run, owner)
    wanted = partial(_waits, store, run.id)
    arguments = (workspace, run.id, owner)
    executor.submit(Task(run_worker, arguments, ended, job_name(run.id), wanted))


def _waits(store: Store, run_id: int) -> bool:
    """Whether a worker is worth starting: for a run that was ended or deleted it is not."""
    with suppress(StoreUnavailable), store.read_session() as session:
        pulse = runs.get_progress(session, run_id)
        return pulse is not None and pulse.status == RunStatus.QUEUED
    return True


def _worker_ended(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    submitted: Run,
    owner: str,
    ending: ProcessExit,
) -> None:
    """Let a run that its worker could not end itself go on with another.

    Where the database takes nothing now, it is found by the rescuer.
    """
    if ending.exit_code == 0 and not ending.during_shutdown:
        return
    with store.read_session() as session:
        run = runs.get(session, submitted.id)
    lease = Lease(run.id, run.attempt, owner)
    if ending.during_shutdown:
        # Asked to go, not lost: it is no attempt, and the next start of the service goes on.
        with store.write_session() as session:
            run_lifecycle.requeue(session, lease, lost_workers=0)
        return
    cause = cause_of(ending)
    log.warning("worker lost", run=run.id, error=cause.type)
    if run.status == RunStatus.QUEUED:
        # It ended before it took the run; or long after it lost it, and then this is nobody's.
        lease = Lease(run.id, submitted.attempt, run_lifecycle.NO_OWNER)
    if requeue_or_fail(store, workspace, lease, cause):
        # A service that is about to end takes nothing more; the next start does.
        with suppress(RuntimeError):
            dispatch_run(store, executor, workspace, run)
