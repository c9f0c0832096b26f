"""What a worker process does: claim a run, train it epoch by epoch, record each, and finish it."""

import secrets
import sys
import time
from contextlib import suppress
from typing import Self

import structlog

from service import logs
from service.background import BackgroundTask
from service.core import checkpoints
from service.core.allocator import keep_freed_memory
from service.core.datasets.dataset import Dataset, is_upload
from service.core.images import ProbeImage, probe_images, to_png
from service.core.spec import RunSpec
from service.core.training import train
from service.core.training_state import TrainingState
from service.errors import (
    CheckpointCorrupt,
    ImageNotFound,
    RunCancelled,
    StoreFull,
    StoreUnavailable,
)
from service.flows.checkpoints import load_verified_checkpoint
from service.flows.environment import prepare_environment
from service.flows.recording import record_epoch
from service.flows.run_errors import exit_code_of, run_error_of
from service.flows.workspace import Workspace
from service.store import epochs, images, run_lifecycle, runs, training_states
from service.store.images import StoredImage
from service.store.run_lifecycle import Lease
from service.store.run_status import RunStatus
from service.store.store import Store, open_store

CANCEL_POLL_SECONDS = 0.5
MAX_HEARTBEAT_SECONDS = 2.0
HEARTBEATS_PER_LEASE = 3
HEARTBEAT_JOIN_SECONDS = 30.0  # longer than any wait for the database
BUSY_PAUSE_SECONDS = 5.0
"""A worker waits this long before it gives up because the database does not answer: its successor
starts at once, and a restart of the database must not use up all of a run's attempts."""

WORKER_IMPORTS = (__name__, "service.core.compiler")
"""Modules that a worker needs and that take seconds to import."""

log = structlog.get_logger()


def run_worker(workspace: Workspace, run_id: int, owner: str) -> None:
    """Entry point of a worker process: `train_run`, with an exit code for database errors."""
    try:
        train_run(workspace, run_id, owner)
    except (StoreUnavailable, StoreFull) as error:
        if isinstance(error, StoreUnavailable):
            time.sleep(BUSY_PAUSE_SECONDS)
        sys.exit(exit_code_of(error))


def train_run(workspace: Workspace, run_id: int, owner: str | None = None) -> None:
    """Claim a queued run, train it from its last epoch, and finish it; returns if it is taken.

    Raises StoreUnavailable if the database cannot be used, and StoreFull if it has no space for
    the run's final status. The run is then still running, and has to be requeued.
    """
    logs.configure()
    with open_store(workspace.database, workspace.blobs, workspace.bounds) as store:
        with store.write_session() as session:
            lease = run_lifecycle.claim(session, run_id, owner or new_lease_owner())
            if lease is None:
                return
            run = runs.get(session, run_id)
            spec = RunSpec.model_validate(run.spec)
        status, error = RunStatus.SUCCEEDED, None
        try:
            with Heartbeat(store, lease, workspace.lease_seconds) as heartbeat:
                prepare_environment(store, lease, run, spec)
                _train(store, workspace, spec, heartbeat)
        except RunCancelled:
            status = RunStatus.CANCELLED
        except StoreUnavailable:
            # Not the run's fault: another worker may succeed.
            raise
        except Exception as cause:
            status, error = RunStatus.FAILED, run_error_of(cause)
            # The run's own error explains all but unexpected exceptions, which need a traceback.
            log.warning("run failed", run=run_id, error=error.type, exc_info=error.type == "error")
        with store.write_session() as session:
            # Under its lease: a worker that has lost it changes nothing.
            run_lifecycle.finish(session, run_id, status, error, lease=lease)


def new_lease_owner() -> str:
    """A unique name for a worker."""
    return secrets.token_hex(16)


def probe_uploads(spec: RunSpec) -> list[str]:
    """References of the uploads among the run's probe images, without duplicates."""
    return [text for text in dict.fromkeys(spec.probes.images) if is_upload(text)]


class Heartbeat:
    """A thread that renews the lease and records the current epoch's progress.

    It is also active while data is loaded and an epoch is tested. It stops when the lease is lost.
    """

    def __init__(self, store: Store, lease: Lease, lease_seconds: float) -> None:
        self.lease = lease
        self.lease_lost = False
        self.images_seen: int | None = None  # of the current epoch; None: nothing to record
        self._store = store
        interval_seconds = min(MAX_HEARTBEAT_SECONDS, lease_seconds / HEARTBEATS_PER_LEASE)
        self._task = BackgroundTask(
            "heartbeat",
            self._beat,
            interval_seconds=interval_seconds,
            max_backoff_seconds=interval_seconds,
        )

    def __enter__(self) -> Self:
        self._task.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._task.request_stop()
        self._task.join(HEARTBEAT_JOIN_SECONDS)

    def _beat(self) -> None:
        # What the database does not accept now is recorded by the next heartbeat.
        with suppress(StoreUnavailable, StoreFull), self._store.write_session() as session:
            # Read inside the transaction: after an epoch's commit, its progress is outdated.
            renewed = run_lifecycle.update_heartbeat(
                session, self.lease.run_id, self.images_seen, lease=self.lease
            )
            if not renewed:
                self.lease_lost = True
                self._task.request_stop()


class _AfterBatch:
    """Called after each batch: reports progress, and raises RunCancelled to end the training."""

    def __init__(self, store: Store, heartbeat: Heartbeat) -> None:
        self._store, self._heartbeat = store, heartbeat
        self._polled_at = time.monotonic()

    def __call__(self, images_seen: int, images_of_epoch: int) -> None:
        run_id = self._heartbeat.lease.run_id
        if self._heartbeat.lease_lost:
            raise RunCancelled(f"Run {run_id} has been assigned to another worker.")
        if images_seen < images_of_epoch:  # the last batch: recorded together with its epoch
            self._heartbeat.images_seen = images_seen
        if time.monotonic() - self._polled_at >= CANCEL_POLL_SECONDS:
            self._polled_at = time.monotonic()
            with suppress(StoreUnavailable, StoreFull), self._store.read_session() as session:
                if run_lifecycle.is_cancel_requested(session, run_id):
                    raise RunCancelled(f"Run {run_id} was cancelled.")


def _train(store: Store, workspace: Workspace, spec: RunSpec, heartbeat: Heartbeat) -> None:
    keep_freed_memory()
    lease = heartbeat.lease
    data = spec.source.load(workspace.data_dir, True)
    probes = probe_images(data, spec.probes, _load_uploads(store, spec))
    with store.write_session() as session:
        images.set_probes(session, lease.run_id, [_stored_image(data, probe) for probe in probes])
    state = _load_training_state(store, lease.run_id)
    after_batch = _AfterBatch(store, heartbeat)
    for result in train(spec, data, resume_from=state, after_batch=after_batch):
        heartbeat.images_seen = None
        record_epoch(store, lease.run_id, spec, result, probes, lease)


def _load_training_state(store: Store, run_id: int) -> TrainingState | None:
    """The state after the last epoch; None before epoch 0. Raises CheckpointCorrupt."""
    with store.read_session() as session:
        last_epoch = runs.get(session, run_id).epochs_done
        if last_epoch < 0:
            return None
        state_row = training_states.get(session, run_id)
        if state_row is None or state_row.epoch != last_epoch:
            raise CheckpointCorrupt("The run has no training state of its last epoch.")
        epoch = epochs.get(session, run_id, last_epoch)
        try:
            optimizer = store.blobs.get(session, state_row.blob_key)
        except KeyError as error:
            raise CheckpointCorrupt("The run's training state is missing.") from error
    if checkpoints.digest(optimizer) != state_row.sha256:
        raise CheckpointCorrupt("The run's training state does not match its checksum.")
    return TrainingState(last_epoch, load_verified_checkpoint(store, epoch), optimizer)


def _load_uploads(store: Store, spec: RunSpec) -> dict[str, bytes]:
    """PNGs of the uploads among the run's probe images, by reference. Raises ImageNotFound."""
    pngs = {}
    for reference in probe_uploads(spec):
        with store.read_session() as session:
            image = images.get(session, spec.dataset, reference)
        if image is None:
            raise ImageNotFound(reference, "it was removed while the run was queued")
        pngs[reference] = image.png
    return pngs


def _stored_image(data: Dataset, image: ProbeImage) -> StoredImage:
    return StoredImage(data.name, str(image.reference), image.label, to_png(image.pixels))
