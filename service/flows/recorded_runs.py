"""Runs whose training happens elsewhere: created, written epoch by epoch, and ended by a recorder.

Each write names the recorder's lease, and repeating it has no further effect. Maps of the probes
can be computed after `Recordings.put_epoch` has committed, from `Networks.load_epoch`.
"""

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from service.core import checkpoints
from service.core.epoch_manifests import EpochManifest
from service.core.images import canonical_png
from service.core.network_descriptions import NetworkDescription
from service.core.recorded_spec import MAX_PROBES, RecordedSpec
from service.errors import (
    InvalidValue,
    LeaseStale,
    NetworkNotFound,
    RunConflict,
    RunEnded,
    TensorsRejected,
)
from service.flows.heartbeats import HeartbeatMonitor
from service.flows.networks import Networks
from service.store import (
    epochs,
    images,
    networks,
    recorded_runs,
    request_keys,
    run_lifecycle,
    runs,
    step_metrics,
    tensors,
)
from service.store.epochs import Checkpoint, Epoch, EpochMetrics
from service.store.images import StoredImage
from service.store.recorded_runs import NewRecording
from service.store.request_keys import RequestKey
from service.store.run_lifecycle import Lease
from service.store.run_status import RunSource, RunStatus
from service.store.runs import Run, RunError
from service.store.step_metrics import Points
from service.store.store import Store
from service.store.tensors import StoredTensor

OWNER_BYTES = 16
RECORDER_FAILED = "recorder_failed"
MISSING_TENSOR = "is not stored: send it by PUT /tensors/"

log = structlog.get_logger()


@dataclass(frozen=True)
class RecordedEpoch:
    """What a recorder sends of an epoch. A metric is None if it was not finite."""

    tensors: Mapping[str, str]  # SHA-256 by name
    metrics: Mapping[str, float | None]
    config_changes: Mapping[str, Any]
    steps: Mapping[str, Points] = field(default_factory=dict)


@dataclass(frozen=True)
class Recordings:
    """Recorded runs of a store. Thread-safe."""

    store: Store
    networks: Networks

    def create(
        self, spec: RecordedSpec, request_key: RequestKey | None = None
    ) -> tuple[Run, str, bool]:
        """A running run, the lease of its recorder, and whether the request key was used before.

        For a request key that has created a run before, that run and its current lease. Raises
        InvalidValue, StoreFull, KeyReused, and RunNotFound if the run of the key has been deleted.
        """
        self._check_network(spec)
        with self.store.write_session() as session:
            earlier_id = request_keys.claim_key(session, request_key) if request_key else None
            if earlier_id is not None:
                run = runs.get(session, int(earlier_id))
                lease = recorded_runs.get_lease(session, run.id)
                return run, format_lease(lease) if lease else "", True
            self.store.quota.check(session)
            if not networks.mark_used(session, spec.network):
                raise _unknown_network()
            recording = NewRecording(
                name=spec.name,
                tags=spec.tags,
                spec=spec.model_dump(mode="json"),
                network_id=spec.network,
                epochs_total=spec.epochs or 0,
            )
            lease = recorded_runs.create(session, recording, secrets.token_hex(OWNER_BYTES))
            if request_key:
                request_keys.record_answer(session, request_key, str(lease.run_id))
            return runs.get(session, lease.run_id), format_lease(lease), False

    def take_over(self, run_id: int, *, is_reopened: bool = False) -> str:
        """A new lease, which makes the previous one stale. With `is_reopened`, a run that has
        ended continues. Raises RunNotFound, RunConflict.
        """
        with self.store.write_session() as session:
            run = _get_recorded(session, run_id)
            owner = secrets.token_hex(OWNER_BYTES)
            lease = recorded_runs.take_over(session, run_id, owner, is_reopened=is_reopened)
        if lease is None:
            raise RunEnded(run_id, run.status)
        return format_lease(lease)

    def put_probe(
        self, run_id: int, lease_text: str, position: int, png: bytes, label: int | None
    ) -> None:
        """Store a probe: a PNG of the pixels, and its class if known. Before the first epoch.

        Raises RunNotFound, LeaseStale, RunConflict and InvalidValue.
        """
        spec = self._spec(run_id)
        shape = self.networks.get(spec.network).program.input_shape
        if not 0 <= position < MAX_PROBES:
            raise InvalidValue("position", f"must be from 0 to {MAX_PROBES - 1}")
        if label is not None and not 0 <= label < len(spec.class_names):
            raise InvalidValue("label", f"must be from 0 to {len(spec.class_names) - 1}")
        pixels = canonical_png(png, shape)
        if pixels is None:
            message = "must be a PNG of 8 bits, gray or RGB, of the network's input size"
            raise InvalidValue("body", message)
        image = StoredImage(images.dataset_of_run(run_id), f"probe:{position}", label, pixels)
        with self.store.write_session() as session:
            run = self._renew(session, run_id, lease_text)
            self.store.quota.check(session, len(png))
            if run.epochs_done >= 0 and images.get(session, image.dataset, image.reference) is None:
                raise RunConflict("Probes are sent before the first epoch.")
            if not images.put_probe(session, run_id, position, image):
                raise RunConflict(f"Probe {position} of run {run_id} is another image.")

    def put_epoch(
        self, run_id: int, lease_text: str, epoch: int, content: RecordedEpoch
    ) -> tuple[Epoch, bool]:
        """Store an epoch; returns it, and whether it is new.

        Raises RunNotFound, LeaseStale, TensorsRejected, StoreFull, and RunConflict for an epoch
        that is not the next one, or that is stored with another content.
        """
        network = self.networks.get(self._spec(run_id).network)
        _check_names(network, content.tensors)
        # In a transaction of its own: an epoch that is refused for others keeps those it has.
        with self.store.write_session() as session:
            tensors.lock_many(session, set(content.tensors.values()))
        manifest = EpochManifest(network.id, epoch, content.tensors).encode()
        checkpoint = Checkpoint(
            checkpoints.digest(manifest), len(manifest), f"runs/{run_id}/epochs/{epoch}.json"
        )
        metrics = _epoch_metrics(content)
        with self.store.write_session() as session:
            run = self._renew(session, run_id, lease_text)
            if epoch <= run.epochs_done:
                return _require_equal(epochs.get(session, run_id, epoch), checkpoint, metrics)
            if epoch != run.epochs_done + 1:
                raise RunConflict(f"The next epoch of run {run_id} is {run.epochs_done + 1}.")
            hashes = set(content.tensors.values())
            _check_tensors(network, content.tensors, tensors.lock_many(session, hashes))
            self.store.blobs.put(session, checkpoint.blob_key, manifest)
            epochs.add(session, run_id, epoch, metrics, checkpoint)
            tensors.add_references(session, run_id, epoch, hashes)
            step_metrics.add(session, run_id, epoch, content.steps)
            recorded_runs.advance(session, run_id, epoch, run.epochs_total)
            return epochs.get(session, run_id, epoch), True

    def add_metrics(
        self, run_id: int, lease_text: str, epoch: int, metrics: Mapping[str, float | None]
    ) -> Epoch:
        """Add metrics to a stored epoch, each name once. Repeating it has no further effect.

        Raises RunNotFound, EpochNotFound, LeaseStale, and RunConflict for a name that the epoch
        has already, with another value.
        """
        with self.store.write_session() as session:
            self._renew(session, run_id, lease_text)
            stored_metrics = epochs.get(session, run_id, epoch).metrics
            known_metrics = stored_metrics.metrics or {}
            for name in known_metrics.keys() & metrics.keys():
                if known_metrics[name] != metrics[name]:
                    raise RunConflict(f"Epoch {epoch} has the metric {name} already.")
            late_names = {*(stored_metrics.late_metrics or ())} | metrics.keys() - known_metrics
            changes = stored_metrics.config_changes or {}
            content = RecordedEpoch({}, {**known_metrics, **metrics}, changes)
            values = replace(_epoch_metrics(content), late_metrics=sorted(late_names))
            epochs.set_metrics(session, run_id, epoch, values)
            return epochs.get(session, run_id, epoch)

    def heartbeat(self, run_id: int, lease_text: str) -> Run:
        """Record that the recorder is alive. Raises RunNotFound, LeaseStale and RunConflict."""
        with self.store.write_session() as session:
            self._renew(session, run_id, lease_text)
            session.expire_all()
            return runs.get(session, run_id)

    def finish(self, run_id: int, lease_text: str, error: str | None = None) -> Run:
        """End a run: succeeded, or failed with that error. Repeating it has no effect.

        Raises RunNotFound, LeaseStale and RunConflict.
        """
        status = RunStatus.SUCCEEDED if error is None else RunStatus.FAILED
        failure = None if error is None else RunError(RECORDER_FAILED, error)
        with self.store.write_session() as session:
            run = _get_recorded(session, run_id)
            if (run.status, run.error) == (status, failure):
                return run
            self._renew(session, run_id, lease_text)
            lease = parse_lease(run_id, lease_text)
            run_lifecycle.finish(session, run_id, status, failure, lease=lease)
            session.expire_all()
            return runs.get(session, run_id)

    def _check_network(self, spec: RecordedSpec) -> None:
        try:
            program = self.networks.get(spec.network).program
        except NetworkNotFound as error:
            raise _unknown_network() from error
        if len(spec.class_names) != program.classes:
            message = f"must be {program.classes} names: the network's classes"
            raise InvalidValue("class_names", message)
        shape = program.input_shape
        if spec.input is not None and spec.input.image_shape != shape:
            depth, height, width = shape
            raise InvalidValue(
                "input", f"must give the network's {height} x {width} pixels of {depth} channels"
            )

    def _spec(self, run_id: int) -> RecordedSpec:
        with self.store.read_session() as session:
            return RecordedSpec.model_validate(_get_recorded(session, run_id).spec)

    def _renew(self, session: Any, run_id: int, lease_text: str) -> Run:
        """The run, its row locked and its heartbeat renewed."""
        run = runs.get_for_update(session, run_id)
        lease = parse_lease(run_id, lease_text)
        if recorded_runs.renew(session, lease):
            return run
        if run.status not in recorded_runs.ACTIVE_STATUSES:
            raise RunEnded(run.id, run.status)
        raise LeaseStale(run_id)


@dataclass
class RecorderMonitor:
    """Marks runs as lost whose recorders send no heartbeats. `scan` is called periodically."""

    store: Store
    timeout_seconds: float
    _heartbeats: HeartbeatMonitor[int, tuple[int, int]] = field(default_factory=HeartbeatMonitor)

    def scan(self, now_seconds: float | None = None) -> list[int]:
        """Mark the runs without heartbeats as lost; returns their ids.

        `now_seconds` defaults to time.monotonic(). Raises StoreUnavailable and StoreFull.
        """
        scan_seconds = time.monotonic() if now_seconds is None else now_seconds
        with self.store.read_session() as session:
            running = {
                run.id: run
                for run in runs.list_by_status(session, RunStatus.RUNNING)
                if run.source is RunSource.RECORDED
            }
        self._heartbeats.observe(
            {run.id: (run.attempt, run.heartbeats) for run in running.values()}, scan_seconds
        )
        lost_ids = []
        stopped_recorders = self._heartbeats.stopped_heartbeats(scan_seconds, self.timeout_seconds)
        for run_id, (attempt, heartbeats) in stopped_recorders.items():
            lease = Lease(run_id, attempt, running[run_id].lease_owner or "")
            with self.store.write_session() as session:
                if recorded_runs.mark_lost(session, lease, heartbeats):
                    lost_ids.append(run_id)
                    log.warning("recorder lost", run=run_id)
        return lost_ids


def format_lease(lease: Lease) -> str:
    """A lease as its recorder sends it."""
    return f"{lease.attempt}.{lease.owner}"


def parse_lease(run_id: int, text: str) -> Lease:
    """The lease of that text. Raises LeaseStale for text that is none."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})\.([0-9a-f]{32})", text)
    if match is None:
        raise LeaseStale(run_id)
    return Lease(run_id, int(match[1]), match[2])


def _get_recorded(session: Any, run_id: int) -> Run:
    run = runs.get(session, run_id)
    if run.source is not RunSource.RECORDED:
        raise RunConflict(f"Run {run_id} is trained by the service, not recorded.")
    return run


def _unknown_network() -> InvalidValue:
    return InvalidValue("network", "is not stored: send it by POST /networks first")


def _check_names(network: NetworkDescription, hashes: Mapping[str, str]) -> None:
    forms = network.tensor_forms
    reasons = {name: "is required by the network" for name in forms if name not in hashes}
    reasons |= {name: "is not used by the network" for name in hashes if name not in forms}
    if reasons:
        raise TensorsRejected(reasons, [])


def _check_tensors(
    network: NetworkDescription,
    hashes: Mapping[str, str],
    stored_tensors: Mapping[str, StoredTensor],
) -> None:
    reasons: dict[str, str] = {}
    for name, form in network.tensor_forms.items():
        tensor = stored_tensors.get(hashes[name])
        if tensor is None:
            reasons[name] = f"{MISSING_TENSOR}{hashes[name]}"
        elif not form.accepts(tensor.dtype, tuple(tensor.shape)):
            reasons[name] = (
                f"is {tensor.dtype} of shape {list(tensor.shape)}, and the network requires "
                f"{form.dtype} of shape {list(form.shape)}"
            )
    if reasons:
        raise TensorsRejected(reasons, sorted(set(hashes.values()) - set(stored_tensors)))


def _epoch_metrics(content: RecordedEpoch) -> EpochMetrics:
    metrics = content.metrics

    def fraction(name: str) -> float | None:
        value = metrics.get(name)
        return value if value is not None and 0 <= value <= 1 else None

    return EpochMetrics(
        train_loss=metrics.get("train_loss"),
        train_accuracy=fraction("train_accuracy"),
        test_loss=metrics.get("test_loss"),
        test_accuracy=fraction("test_accuracy"),
        per_class_accuracy=[],
        learning_rate=metrics.get("learning_rate"),
        seconds=metrics.get("seconds"),
        metrics=dict(metrics),
        config_changes=dict(content.config_changes),
    )


def _require_equal(
    stored_epoch: Epoch, checkpoint: Checkpoint, metrics: EpochMetrics
) -> tuple[Epoch, bool]:
    late_names = stored_epoch.metrics.late_metrics or ()
    first_metrics = {
        name: value
        for name, value in (stored_epoch.metrics.metrics or {}).items()
        if name not in late_names
    }
    stored_values = (stored_epoch.checkpoint, first_metrics, stored_epoch.metrics.config_changes)
    if stored_values != (checkpoint, metrics.metrics, metrics.config_changes):
        raise RunConflict(f"Epoch {stored_epoch.epoch} is stored with another content.")
    return stored_epoch, False
