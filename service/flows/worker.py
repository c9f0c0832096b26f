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
from service.core.cancellation import cancellable
from service.core.datasets.dataset import is_upload
from service.core.images import ProbeImage, probe_images, to_png
from service.core.recorded_spec import training_spec
from service.core.spec import RunSpec
from service.core.training import train
from service.core.training_state import TrainingState
from service.errors import CheckpointCorrupt, ImageNotFound, RunCancelled
from service.flows.checkpoints import load_weights
from service.flows.datasets import load_dataset
from service.flows.divergence import divergence_of
from service.flows.environment import prepare_environment
from service.flows.epoch_insights import InsightRecorder
from service.flows.exchange_tests import ExchangeRecorder
from service.flows.recording import record_epoch
from service.flows.run_errors import exit_code_of, run_error_of
from service.flows.workspace import Workspace
from service.store import divergences, epochs, images, run_lifecycle, runs, training_states
from service.store.images import StoredImage
from service.store.run_lifecycle import EpochProgress, Lease
from service.store.run_status import RunPhase, RunStatus
from service.store.store import Store, open_store
from service.store_errors import StoreFull, StoreUnavailable

CANCEL_POLL_SECONDS = 0.5
MAX_HEARTBEAT_SECONDS = 2.0
MIN_HEARTBEAT_SECONDS = 1.0  # between one and a new phase that causes the next
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
            spec = training_spec(run.spec)
        status, error, divergence = RunStatus.SUCCEEDED, None, None
        try:
            with Heartbeat(store, lease, workspace.lease_seconds) as heartbeat:
                prepare_environment(store, lease, run, spec)
                _train(store, workspace, spec, heartbeat, run.epochs_done + 1)
        except RunCancelled:
            status = RunStatus.CANCELLED
        except StoreUnavailable:
            # Not the run's fault: another worker may succeed.
            raise
        except Exception as cause:
            status, error = RunStatus.FAILED, run_error_of(cause)
            divergence = divergence_of(cause)
            # The run's own error explains all but unexpected exceptions, which need a traceback.
            log.warning("run failed", run=run_id, error=error.type, exc_info=error.type == "error")
        with store.write_session() as session:
            # Under its lease: a worker that has lost it changes nothing.
            has_finished = run_lifecycle.finish(session, run_id, status, error, lease=lease)
            if has_finished and divergence:
                divergences.add(session, run_id, divergence)


def new_lease_owner() -> str:
    """A unique name for a worker."""
    return secrets.token_hex(16)


def probe_uploads(spec: RunSpec) -> list[str]:
    """References of the uploads among the run's probe images, without duplicates."""
    return [text for text in dict.fromkeys(spec.probes.images) if is_upload(text)]


class Heartbeat:
    """A thread that renews the lease and records the progress that the worker reports.

    It is also active while data is loaded and an epoch is tested. It stops when the lease is lost.
    """

    def __init__(self, store: Store, lease: Lease, lease_seconds: float) -> None:
        self.lease = lease
        self.lease_lost = False
        self._progress: EpochProgress | None = None
        self._recorded_at = float("-inf")
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

    def report(self, progress: EpochProgress) -> None:
        """Set the progress for the next heartbeat. A new phase does not wait for it."""
        is_new_phase = self._progress is None or progress.phase != self._progress.phase
        self._progress = progress
        if is_new_phase and time.monotonic() - self._recorded_at >= MIN_HEARTBEAT_SECONDS:
            self._task.wake()

    def _beat(self) -> None:
        self._recorded_at = time.monotonic()
        # What the database does not accept now is recorded by the next heartbeat.
        with suppress(StoreUnavailable, StoreFull), self._store.write_session() as session:
            renewed = run_lifecycle.update_heartbeat(
                session, self.lease.run_id, self._progress, lease=self.lease
            )
            if not renewed:
                self.lease_lost = True
                self._task.request_stop()


class _CancellationPoll:
    """Whether a client has cancelled the run or another worker has it, asked now and then."""

    def __init__(self, store: Store, heartbeat: Heartbeat) -> None:
        self._store, self._heartbeat = store, heartbeat
        self._polled_at = time.monotonic()

    def raise_if_cancelled(self) -> None:
        """Raises RunCancelled."""
        run_id = self._heartbeat.lease.run_id
        if self._heartbeat.lease_lost:
            raise RunCancelled(f"Run {run_id} has been assigned to another worker.")
        if time.monotonic() - self._polled_at >= CANCEL_POLL_SECONDS:
            self._polled_at = time.monotonic()
            with suppress(StoreUnavailable, StoreFull), self._store.read_session() as session:
                if run_lifecycle.is_cancel_requested(session, run_id):
                    raise RunCancelled(f"Run {run_id} was cancelled.")

    def is_wanted(self) -> bool:
        """For `cancellable`, whose work is then ended by RunCancelled itself."""
        self.raise_if_cancelled()
        return True


class _EpochReporter:
    """Reports the progress of epochs. Called after each batch, it raises RunCancelled to end the
    training.
    """

    def __init__(
        self, poll: _CancellationPoll, heartbeat: Heartbeat, images_total: int, epoch: int
    ) -> None:
        self._poll, self._heartbeat = poll, heartbeat
        self._images_total = images_total  # of an epoch
        self._epoch = epoch

    def begin(self, epoch: int) -> None:
        """Report the start of an epoch. Epoch 0, the untrained network, is only evaluated."""
        self._epoch = epoch
        self._report(RunPhase.TRAINING if epoch else RunPhase.EVALUATING, 0)

    def begin_recording(self) -> None:
        """Report that the epoch is evaluated, and is being recorded."""
        self._report(RunPhase.RECORDING, self._images_total if self._epoch else 0)

    def __call__(self, images_seen: int, images_of_epoch: int) -> None:
        is_last = images_seen == images_of_epoch
        self._report(RunPhase.EVALUATING if is_last else RunPhase.TRAINING, images_seen)
        self._poll.raise_if_cancelled()

    def _report(self, phase: RunPhase, images_seen: int) -> None:
        self._heartbeat.report(EpochProgress(self._epoch, phase, images_seen))


def _train(
    store: Store, workspace: Workspace, spec: RunSpec, heartbeat: Heartbeat, epoch: int
) -> None:
    """Train the epochs from `epoch` on, and record each."""
    keep_freed_memory()
    lease = heartbeat.lease
    heartbeat.report(EpochProgress(epoch, RunPhase.LOADING))
    poll = _CancellationPoll(store, heartbeat)
    with cancellable(poll.is_wanted):
        data = load_dataset(workspace, spec)
    probes = probe_images(data, spec.probes, _load_uploads(store, spec))
    with store.write_session() as session:
        images.set_probes(session, lease.run_id, [_stored_image(spec, probe) for probe in probes])
    state = _load_training_state(store, lease.run_id)
    reporter = _EpochReporter(poll, heartbeat, spec.samples_per_epoch, epoch)
    reporter.begin(epoch)
    weights_folder = workspace.data_dir / "weights"
    exchange_recorder = ExchangeRecorder(store, lease, spec, data)
    insight_recorder = InsightRecorder(store, lease.run_id, spec, data)
    for result in train(
        spec, data, resume_from=state, weights_folder=weights_folder, after_batch=reporter
    ):
        reporter.begin_recording()
        insight = insight_recorder.observe(result)
        record_epoch(store, lease.run_id, spec, result, probes, lease, insight)
        exchange_recorder.examine(result)
        if result.epoch < spec.epochs:
            reporter.begin(result.epoch + 1)


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
    return TrainingState(last_epoch, load_weights(store, epoch), optimizer)


def _load_uploads(store: Store, spec: RunSpec) -> dict[str, bytes]:
    """PNGs of the uploads among the run's probe images, by reference. Raises ImageNotFound."""
    pngs = {}
    for reference in probe_uploads(spec):
        with store.read_session() as session:
            image = images.get(session, spec.image_set, reference)
        if image is None:
            raise ImageNotFound(reference, "it was removed while the run was queued")
        pngs[reference] = image.png
    return pngs


def _stored_image(spec: RunSpec, image: ProbeImage) -> StoredImage:
    return StoredImage(spec.image_set, str(image.reference), image.label, to_png(image.pixels))
