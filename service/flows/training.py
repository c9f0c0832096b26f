"""The story of a run: started, trained in a worker, ended; and picked up after a restart."""

import re
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from service import logs
from service.core.allocator import keep_freed_memory
from service.core.datasets.dataset import Dataset
from service.core.images import LabelledImage, probe_images, to_png
from service.core.processor import is_out_of_memory, share_cores
from service.core.spec import RunSpec
from service.core.training import train
from service.errors import (
    DatasetUnavailable,
    RunCancelled,
    RunConflict,
    RunDiverged,
    StoreBusy,
    StoreFull,
)
from service.flows.recording import record_epoch
from service.flows.workspace import Workspace
from service.jobs import Ending, Executor, Job
from service.store import images, runs
from service.store.images import StoredImage
from service.store.runs import Run, RunError
from service.store.store import Store, opened

CANCEL_POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 2.0
LOST_AFTER_SECONDS = 30.0

log = structlog.get_logger()

FAILURES: dict[type[Exception], str] = {
    RunDiverged: "diverged",
    DatasetUnavailable: "dataset_unavailable",
    StoreFull: "disk_full",
    StoreBusy: "store_busy",
}
"""Errors of our own that end a run, and the word that the run's `error.type` has for them."""


def start_run(store: Store, executor: Executor, workspace: Workspace, spec: RunSpec) -> Run:
    """Queue a run of `spec` and hand it to the executor; returns it as it was queued."""
    with store.writing() as session:
        run = runs.create(session, spec.name, spec.tags, spec.model_dump(mode="json"), spec.epochs)
    # After the commit: a worker that starts sooner would not find its run.
    _submit(store, executor, workspace, run.id)
    return run


def cancel_run(store: Store, run_id: int) -> Run:
    """Ask for a run's end: at once if it waits, within a second if it trains.

    Raises RunNotFound, and RunConflict if it has ended.
    """
    with store.writing() as session:
        run = runs.get(session, run_id)
        waiting = runs.finish(session, run_id, runs.CANCELLED, since=(runs.QUEUED,))
        if not waiting and not runs.request_cancel(session, run_id):
            raise RunConflict(f"Run {run_id} has ended already: it {run.status}.")
        session.expire_all()
        return runs.get(session, run_id)


def delete_run(store: Store, run_id: int) -> None:
    """Delete a run with its checkpoints and maps. Raises RunNotFound, RunConflict if it trains."""
    with store.writing() as session:
        run = runs.get(session, run_id)
        if run.status not in (*runs.TERMINAL, runs.QUEUED):
            raise RunConflict(f"Run {run_id} is running; cancel it first.")
        store.blobs.delete(session, runs.remove(session, run_id))


def pick_up(store: Store, executor: Executor, workspace: Workspace) -> None:
    """At a start of the service: queue again what waited, and end what lost its worker."""
    fail_lost_runs(store)
    with store.reading() as session:
        waiting = runs.with_status(session, runs.QUEUED)
    for run in waiting:
        _submit(store, executor, workspace, run.id)


def fail_lost_runs(store: Store) -> None:
    """End running runs whose worker was not heard of for longer than LOST_AFTER_SECONDS."""
    deadline = datetime.now(UTC) - timedelta(seconds=LOST_AFTER_SECONDS)
    with store.writing() as session:
        for run in runs.with_status(session, runs.RUNNING):
            if run.heartbeat_at is None or run.heartbeat_at < deadline:
                error = RunError("worker_lost", "The service stopped while the run trained.")
                runs.finish(session, run.id, runs.FAILED, error)


def train_run(workspace: Workspace, run_id: int) -> None:
    """What a worker does: take the run, train, record each epoch, and end it."""
    logs.configure()
    with opened(workspace.database_url, workspace.blobs) as store:
        with store.writing() as session:
            if not runs.claim(session, run_id):
                return
            spec = RunSpec.model_validate(runs.get(session, run_id).spec)
        status, error = runs.SUCCEEDED, None
        try:
            _train(store, workspace, run_id, spec)
        except RunCancelled:
            status = runs.CANCELLED
        except Exception as cause:
            status, error = runs.FAILED, _described(cause)
            # What was foreseen is told by the run itself; only the rest needs its traceback.
            log.warning("run failed", run=run_id, error=error.type, exc_info=error.type == "error")
        with store.writing() as session:
            runs.finish(session, run_id, status, error)


def _train(store: Store, workspace: Workspace, run_id: int, spec: RunSpec) -> None:
    keep_freed_memory()
    share_cores(workspace.parallel_runs)
    data = spec.source.load(workspace.data_dir, True)
    probes = probe_images(data, spec.probes)
    with store.writing() as session:
        images.watch(session, run_id, [_stored(data, probe) for probe in probes])
    for result in train(spec, data, after_batch=_Pulse(store, run_id)):
        record_epoch(store, run_id, spec, result, probes)


def _stored(data: Dataset, image: LabelledImage) -> StoredImage:
    return StoredImage(data.name, str(image.reference), image.label, to_png(image.pixels))


@dataclass
class _Pulse:
    """After each batch: a sign of life now and then, and a look whether the run was cancelled."""

    store: Store
    run_id: int
    looked_at: float = field(default_factory=time.monotonic)
    written_at: float = field(default_factory=time.monotonic)

    def __call__(self, images_seen: int, images_of_epoch: int) -> None:
        now = time.monotonic()
        if now - self.looked_at >= CANCEL_POLL_SECONDS:
            self.looked_at = now
            with self.store.reading() as session:
                if runs.cancel_requested(session, self.run_id):
                    raise RunCancelled(f"Run {self.run_id} was cancelled.")
        # The last batch needs none: its epoch's record is one.
        if now - self.written_at >= HEARTBEAT_SECONDS and images_seen < images_of_epoch:
            self.written_at = now
            with self.store.writing() as session:
                runs.heartbeat(session, self.run_id, images_seen)


def _submit(store: Store, executor: Executor, workspace: Workspace, run_id: int) -> None:
    executor.submit(Job(train_run, (workspace, run_id), partial(_worker_ended, store, run_id)))


def _worker_ended(store: Store, run_id: int, ending: Ending) -> None:
    """Give a run that its worker could not end itself its end."""
    if ending.stopped_by_us:
        error = RunError("interrupted", "The service was stopped while the run trained.")
    elif ending.exit_code < 0:
        name = signal.Signals(-ending.exit_code).name
        error = RunError("worker_killed", f"The worker process was killed by {name}.")
    else:
        error = RunError(
            "worker_died", f"The worker process ended early, with exit code {ending.exit_code}."
        )
    with store.writing() as session:
        # A run that never began stays queued when the service stops: it is taken up at the next
        # start.
        since = (runs.RUNNING,) if ending.stopped_by_us else (runs.RUNNING, runs.QUEUED)
        if runs.finish(session, run_id, runs.FAILED, error, since=since):
            log.warning("worker lost", run=run_id, error=error.type)


def _described(cause: Exception) -> RunError:
    if is_out_of_memory(cause):
        return RunError("oom", "The machine's memory was not enough for the run.")
    for kind, word in FAILURES.items():
        if isinstance(cause, kind):
            return RunError(word, str(cause))
    # No path of the machine's in what clients read.
    words = re.sub(r"(?<![\w.])/[^\s'\",:;]+", "<path>", str(cause)).strip()
    return RunError("error", f"{type(cause).__name__}: {words}"[:1000])
