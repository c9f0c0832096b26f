"""Import of a run: verified completely, then written in small transactions while hidden."""

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.core.recorded_spec import AnySpec, RecordedSpec
from service.core.spec import RunSpec
from service.errors import ImportRefused
from service.flows.deletion import DeletedRunCleaner
from service.flows.recording import ENGINE_VERSION, map_identity
from service.flows.transfer.archive import Archive, open_archive
from service.flows.transfer.consistency import check_run, list_states
from service.flows.transfer.contents import (
    RunContents,
    contents_of,
    read_image,
)
from service.flows.transfer.exchange_tests import import_exchange_test
from service.flows.transfer.insights import import_insight
from service.flows.transfer.manifest import (
    EpochRows,
    ExportedDivergence,
    ExportedEpoch,
    ExportedHeatmap,
    ExportedState,
    Manifest,
    format_timestamp,
)
from service.flows.transfer.programs import import_network, import_tensor, refer_to_tensors
from service.store import (
    divergences,
    epoch_insights,
    epochs,
    events,
    exchange_tests,
    heatmaps,
    images,
    imports,
    predictions,
    runs,
    step_metrics,
    training_states,
    uploaded_images,
)
from service.store.divergences import Divergence
from service.store.epochs import Checkpoint, Epoch, EpochMetrics
from service.store.events import Event
from service.store.heatmaps import EXTREME_FIELDS, Heatmap
from service.store.images import StoredImage
from service.store.predictions import Prediction
from service.store.run_status import RunStatus
from service.store.runs import Run, RunError
from service.store.store import Store
from service.store.training_states import StoredTrainingState
from service.store_errors import StoreBusy, StoreFull, StoreUnavailable

BATCH_BYTES = 4 * 2**20
"""Maximum size of a transaction, unless a single epoch is larger."""


def import_run(store: Store, path: Path) -> Run:
    """Import an exported run under a new id; its origin is recorded.

    The file is checked for consistency: checksums, sizes, the spec against the header and tensors
    of each checkpoint, consecutive epochs, matching events, and identities of maps. Files are not
    signed, so a consistent forgery is possible. Raises ImportRefused, StoreFull and
    StoreUnavailable, and then leaves nothing behind.
    """
    with open_archive(path) as archive:
        contents = contents_of(archive)
        check_run(archive.manifest, contents)
        # Before any transaction: verification is slow, and must not block other writers.
        for image in archive.manifest.images:
            read_image(contents, archive, image)
        contents.check_archive()
        for epoch in archive.manifest.epochs:
            rows = _rows(archive, contents, epoch)
            import_exchange_test(0, epoch, rows, contents.class_count)
            import_insight(0, epoch, rows, contents.class_count)
            contents.check_checkpoint(epoch, archive.read_member(epoch.checkpoint))
        for exported in list_states(archive.manifest):
            contents.check_training_state(exported)
        run_id = _Import(store, archive, contents).run()
    with store.read_session() as session:
        return runs.get(session, run_id)


class _Import:
    """Writes an archive into the store, in transactions short enough for other writers.

    The run is hidden until the last transaction. If the import is killed, its heartbeats stop and
    a service deletes the run.
    """

    def __init__(self, store: Store, archive: Archive, contents: RunContents) -> None:
        self._store = store
        self._archive = archive
        self._contents = contents
        self._spec = contents.spec
        # Not by run id: the database may assign the id of a rolled-back transaction again.
        self._folder = f"imports/{uuid.uuid4().hex}"

    def run(self) -> int:
        """Import everything; returns the run's new id. Removes everything if it fails."""
        manifest = self._archive.manifest
        with self._store.write_session() as session:
            total = sum(member.bytes for member in manifest.members())
            self._store.quota.check(session, total)
            run_id = imports.create(session, _run(manifest, self._spec))
            self._read_probes(session, run_id)
        try:
            if self._contents.program is not None:
                import_network(self._store, self._contents.program.network, run_id)
                self._import_tensors(run_id)
            for batch in self._batches():
                with self._transaction(run_id) as session:
                    for epoch in batch:
                        self._write_epoch(session, run_id, epoch)
            for exported in list_states(manifest):
                with self._transaction(run_id) as session:
                    self._write_training_state(session, run_id, exported)
            with self._transaction(run_id) as session:
                self._write_images_and_events(session, run_id)
                imports.finish(session, run_id, RunStatus(manifest.run.status))
        except BaseException:
            self._undo(run_id)
            raise
        return run_id

    def _import_tensors(self, run_id: int) -> None:
        """Store the tensors that are not stored yet, each in a transaction per part."""
        for member in self._archive.manifest.tensors:
            with self._transaction(run_id):
                pass  # a heartbeat
            import_tensor(self._store, self._archive, member)

    def _read_probes(self, session: Any, run_id: int) -> list[StoredImage]:
        """The run's probe images. Raises ImportRefused if a reference belongs to another image."""
        dataset = self._contents.dataset(run_id)
        probes = [
            replace(read_image(self._contents, self._archive, image), dataset=dataset)
            for image in self._archive.manifest.images
        ]
        for image in probes:
            existing = images.get(session, image.dataset, image.reference)
            if existing is not None and (existing.png, existing.label) != (image.png, image.label):
                raise ImportRefused(f"another image is stored as {image.reference}")
        return probes

    def _write_images_and_events(self, session: Any, run_id: int) -> None:
        """Written last: images are shared with other runs, and not deleted with this one."""
        images.set_probes(session, run_id, self._read_probes(session, run_id))
        for exported in self._archive.manifest.images:
            if exported.upload is not None:
                choices = asdict(exported.upload.choices)
                dataset, digest = self._contents.dataset(run_id), exported.upload.digest
                uploaded_images.restore(session, dataset, exported.reference, digest, choices)
        history = [
            Event(event.number, event.kind, event.data) for event in self._archive.manifest.events
        ]
        events.restore(session, run_id, history)
        if (exported_steps := self._archive.manifest.divergence) is not None:
            divergences.add(session, run_id, _divergence(exported_steps))

    @contextmanager
    def _transaction(self, run_id: int) -> Iterator[Any]:
        """A write session, with a heartbeat. Raises StoreBusy if the import has been given up."""
        with self._store.write_session() as session:
            if not imports.update_heartbeat(session, run_id):
                raise StoreBusy("The import made no progress for too long and has been given up.")
            yield session

    def _batches(self) -> Iterator[list[ExportedEpoch]]:
        """All epochs, in batches of at most BATCH_BYTES or one epoch."""
        batch: list[ExportedEpoch] = []
        size = 0
        for epoch in self._archive.manifest.epochs:
            epoch_bytes = epoch.checkpoint.bytes + epoch.rows.bytes
            if batch and size + epoch_bytes > BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(epoch)
            size += epoch_bytes
        if batch:
            yield batch

    def _write_training_state(self, session: Any, run_id: int, exported: ExportedState) -> None:
        member, key = exported.state, self._state_key(exported)
        self._store.blobs.put(session, key, self._archive.read_member(member))
        state = StoredTrainingState(exported.epoch, member.sha256, member.bytes, key)
        training_states.add(session, run_id, state, is_retained=lambda _: True)

    def _undo(self, run_id: int) -> None:
        """Delete the run, and free its space if possible."""
        with suppress(StoreUnavailable, StoreFull):
            with self._store.write_session() as session:
                imports.abandon(session, run_id)
                # External blobs are not rolled back with a transaction.
                manifest = self._archive.manifest
                state_keys = map(self._state_key, list_states(manifest))
                keys = [*map(self._key, manifest.epochs), *state_keys]
                self._store.blobs.delete(session, keys)
            DeletedRunCleaner(self._store).free_space()

    def _write_epoch(self, session: Any, run_id: int, epoch: ExportedEpoch) -> None:
        data = self._archive.read_member(epoch.checkpoint)
        rows = _rows(self._archive, self._contents, epoch)
        key = self._key(epoch)
        self._store.blobs.put(session, key, data)
        checkpoint = Checkpoint(epoch.checkpoint.sha256, len(data), key)
        epoch_row = Epoch(run_id, epoch.epoch, _measures(epoch), checkpoint, epoch.created_at)
        epochs.restore(session, epoch_row)
        if self._contents.program is not None:
            refer_to_tensors(session, run_id, epoch.epoch, data)
        # Maps of another engine version differ: they are computed again when needed.
        if self._archive.manifest.engine == ENGINE_VERSION:
            heatmap_rows = [_heatmap(run_id, epoch.epoch, row) for row in rows.heatmaps]
            heatmaps.add_missing(session, heatmap_rows)
        prediction_rows = [
            Prediction(run_id, epoch.epoch, row.image, list(map(_nan_if_none, row.probabilities)))
            for row in rows.predictions
        ]
        predictions.add_missing(session, prediction_rows)
        step_metrics.add(session, run_id, epoch.epoch, rows.steps)
        test = import_exchange_test(run_id, epoch, rows, self._contents.class_count)
        if test is not None:
            exchange_tests.add_missing(session, test)
        insight = import_insight(run_id, epoch, rows, self._contents.class_count)
        if insight is not None:
            epoch_insights.add_missing(session, insight)

    def _key(self, epoch: ExportedEpoch) -> str:
        return f"{self._folder}/{epoch.epoch}.{epoch.checkpoint.name.rpartition('.')[2]}"

    def _state_key(self, exported: ExportedState) -> str:
        return f"{self._folder}/states/{exported.epoch}.safetensors"


def _rows(archive: Archive, contents: RunContents, epoch: ExportedEpoch) -> EpochRows:
    rows = archive.read_model(epoch.rows, EpochRows)
    classes, spec = contents.class_count, contents.spec
    if any(len(row.probabilities) != classes for row in rows.predictions):
        raise ImportRefused(f"{epoch.rows.name}: a prediction needs one probability per class")
    if isinstance(spec, RecordedSpec):
        # Their identities contain the run's id, so they are computed again when needed.
        return rows.model_copy(update={"heatmaps": []})
    same_engine = archive.manifest.engine == ENGINE_VERSION
    for row in rows.heatmaps:
        if same_engine and row.etag != _map_identity(spec, epoch, row, row.method):
            raise ImportRefused(f"{epoch.rows.name}: a map is of another checkpoint")
        if row.class_index >= classes or not _fits(row):
            raise ImportRefused(f"{epoch.rows.name}: the levels of a map do not match its size")
    current = [_with_current_method(spec, epoch, row) for row in rows.heatmaps]
    return rows.model_copy(update={"heatmaps": current})


def _with_current_method(
    spec: RunSpec, epoch: ExportedEpoch, row: ExportedHeatmap
) -> ExportedHeatmap:
    """The row with the current name of its target, which older versions spelled `centred`."""
    method = row.method.replace("/centred", "/centered")
    if method == row.method:
        return row
    identity = _map_identity(spec, epoch, row, method)
    return row.model_copy(update={"method": method, "etag": identity})


def _map_identity(spec: RunSpec, epoch: ExportedEpoch, row: ExportedHeatmap, method: str) -> str:
    checkpoint = epoch.checkpoint.sha256
    return map_identity(checkpoint, spec.image_set, row.image, row.layer, method, row.class_index)


def _fits(row: ExportedHeatmap) -> bool:
    if row.levels is None or row.height is None or row.width is None:
        return (row.levels, row.height, row.width) == (None, None, None)
    return len(row.levels) == math.prod((row.height, row.width))


def _run(manifest: Manifest, spec: AnySpec) -> Run:
    run = manifest.run
    origin = {
        "run_id": run.id,
        "camreel": manifest.camreel,
        "exported_at": format_timestamp(manifest.exported_at),
        "imported_at": format_timestamp(datetime.now(UTC)),
    }
    return Run(
        id=0,
        name=spec.name,
        tags=spec.tags,
        status=RunStatus(run.status),
        epochs_done=run.epochs_done,
        epochs_total=run.epochs_total,
        images_seen=0,
        phase=None,
        spec=spec.model_dump(mode="json"),
        error=RunError(run.error.type, run.error.detail) if run.error else None,
        cancel_requested=False,
        attempt=0,
        lease_owner=None,
        heartbeats=0,
        lost_workers=0,
        heartbeat_at=None,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        origin=origin,
        environment=run.environment.model_dump() if run.environment else None,
        environment_changes=run.environment_changes,
        notes=run.notes,
    )


def _measures(epoch: ExportedEpoch) -> EpochMetrics:
    return EpochMetrics(
        **{name: getattr(epoch, name) for name in EpochMetrics.__dataclass_fields__}
    )


def _divergence(steps: ExportedDivergence) -> Divergence:
    losses, norms = (list(map(_nan_if_none, v)) for v in (steps.losses, steps.gradient_norms))
    return Divergence(steps.epoch, steps.first_step, losses, norms)


def _heatmap(run_id: int, epoch: int, row: ExportedHeatmap) -> Heatmap:
    extremes = {name: _nan_if_none(getattr(row, name)) for name in EXTREME_FIELDS}
    return Heatmap(run_id=run_id, epoch=epoch, **(dict(row) | extremes))


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value
