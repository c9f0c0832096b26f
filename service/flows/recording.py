"""Recording an epoch: checkpoint, training state, metrics and probe maps, in one transaction."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service import failpoints
from service.core import checkpoints, program_checkpoints, tensor_files, training_state
from service.core.cams.maps import ClassMap, ClassMaps, explain_images
from service.core.cams.methods import PAPER_METHODS
from service.core.checkpoints import CheckpointHeader
from service.core.images import ProbeImage
from service.core.models.program_network import explained_network
from service.core.render.atlas import atlas_levels
from service.core.spec import RunSpec
from service.core.training import EpochResult
from service.errors import RunCancelled
from service.store import (
    epoch_insights,
    epochs,
    heatmaps,
    networks,
    predictions,
    run_lifecycle,
    tensors,
    training_states,
)
from service.store.epoch_insights import StoredInsight
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.heatmaps import Heatmap
from service.store.networks import StoredNetwork
from service.store.predictions import Prediction
from service.store.run_lifecycle import Lease
from service.store.store import Store
from service.store.tensors import StoredTensor
from service.store.training_states import StoredTrainingState

ENGINE_VERSION = 1
"""Part of every map's identity. Increase it when the engine's output changes."""


def map_identity(
    checkpoint: str, dataset: str, image: str, layer: str, method: str, class_index: int
) -> str:
    """SHA-256 (hex) of everything that a map depends on: equal identities mean equal maps."""
    parts = (ENGINE_VERSION, checkpoint, dataset, image, layer, method, class_index)
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def heatmap_of(
    class_map: ClassMap,
    *,
    run_id: int,
    epoch: int,
    checkpoint: str,
    dataset: str,
    image: str,
    layer: str,
    method: str,
    class_index: int,
) -> Heatmap:
    """The row of a map: its metadata and its levels."""
    levels = atlas_levels(class_map)
    return Heatmap(
        run_id=run_id,
        epoch=epoch,
        image=image,
        class_index=class_index,
        method=method,
        layer=layer,
        peak=class_map.peak,
        minimum=class_map.minimum,
        activation_peak=class_map.activation_peak,
        blank=class_map.blank_cause().value,
        etag=map_identity(checkpoint, dataset, image, layer, method, class_index),
        levels=levels.tobytes(),
        height=levels.shape[0],
        width=levels.shape[1],
    )


@dataclass(frozen=True)
class EncodedCheckpoint:
    """The checkpoint of an epoch: the network's tensors, or a manifest of their files."""

    row: Checkpoint
    data: bytes
    network: StoredNetwork | None = None  # of a manifest
    tensor_files: Mapping[str, bytes] = field(default_factory=dict)  # by SHA-256


@dataclass(frozen=True)
class EpochRecord:
    """Everything that one transaction writes for an epoch."""

    run_id: int
    epoch: int
    lease: Lease | None
    metrics: EpochMetrics
    checkpoint: EncodedCheckpoint
    training_state: StoredTrainingState
    training_state_data: bytes
    is_retained: Callable[[int], bool]  # whether the training state of an epoch is retained
    heatmaps: list[Heatmap]
    predictions: list[Prediction]
    insight: StoredInsight | None = None


def record_epoch(
    store: Store,
    run_id: int,
    spec: RunSpec,
    result: EpochResult,
    probes: Sequence[ProbeImage],
    lease: Lease | None = None,
    insight: StoredInsight | None = None,
) -> None:
    """Write an epoch's checkpoint, training state, metrics, probe maps and insight in one
    transaction.

    Raises RunCancelled if the run is no longer running, or is under another lease.
    """
    failpoints.reach("before-encode")
    record = replace(_encode_epoch(run_id, spec, result, probes, lease), insight=insight)
    failpoints.reach("before-begin")
    with store.write_session() as session:
        for write, failpoint in WRITES:
            write(store, session, record)
            failpoints.reach(failpoint)
    failpoints.reach("after-commit")


def _advance_run(_: Store, session: Any, record: EpochRecord) -> None:
    if not run_lifecycle.advance(session, record.run_id, record.epoch, lease=record.lease):
        raise RunCancelled(f"Run {record.run_id} is not running any more.")


def _write_checkpoint(store: Store, session: Any, record: EpochRecord) -> None:
    checkpoint = record.checkpoint
    store.blobs.put(session, checkpoint.row.blob_key, checkpoint.data)
    if checkpoint.network is not None:
        networks.add(session, checkpoint.network)
        networks.set_of_run(session, record.run_id, checkpoint.network.id)
        stored_tensors = tensors.lock_many(session, checkpoint.tensor_files)
        for sha256, file in checkpoint.tensor_files.items():
            if sha256 not in stored_tensors:
                _store_tensor(store, session, sha256, file)


def _store_tensor(store: Store, session: Any, sha256: str, file: bytes) -> None:
    header = tensor_files.read_header(file[: tensor_files.MAX_HEADER_BYTES])
    summary = tensor_files.summarize([file], len(file))
    folder = tensors.new_folder(sha256)
    starts = range(0, len(file), tensors.PART_BYTES)
    parts = [file[start : start + tensors.PART_BYTES] for start in starts]
    row = StoredTensor(
        sha256, header.dtype, header.shape, len(file), folder, len(parts), summary.not_finite
    )
    if tensors.add_missing(session, row):
        for key, part in zip(tensors.part_keys(folder, len(parts)), parts, strict=True):
            store.blobs.put(session, key, part)


def _write_training_state(store: Store, session: Any, record: EpochRecord) -> None:
    store.blobs.put(session, record.training_state.blob_key, record.training_state_data)
    outdated_key = training_states.add(
        session, record.run_id, record.training_state, record.is_retained
    )
    if outdated_key is not None:
        store.blobs.delete(session, [outdated_key])


def _write_epoch_row(_: Store, session: Any, record: EpochRecord) -> None:
    checkpoint = record.checkpoint
    epochs.add(session, record.run_id, record.epoch, record.metrics, checkpoint.row)
    tensors.add_references(session, record.run_id, record.epoch, checkpoint.tensor_files)


def _write_heatmaps(_: Store, session: Any, record: EpochRecord) -> None:
    heatmaps.add_missing(session, record.heatmaps)


def _write_predictions(_: Store, session: Any, record: EpochRecord) -> None:
    predictions.add_missing(session, record.predictions)
    if record.insight is not None:
        epoch_insights.add_missing(session, record.insight)


WRITES: tuple[tuple[Callable[[Store, Any, EpochRecord], None], str], ...] = (
    # First, so that nothing else is written for a run that has been ended by a client.
    (_advance_run, "after-advance"),
    (_write_checkpoint, "after-blob"),
    (_write_training_state, "after-state"),
    (_write_epoch_row, "after-epoch-row"),
    (_write_heatmaps, "after-maps"),
    (_write_predictions, "before-commit"),
)
"""The writes of an epoch's transaction, each with the failpoint that follows it."""


def _encode_epoch(
    run_id: int,
    spec: RunSpec,
    result: EpochResult,
    probes: Sequence[ProbeImage],
    lease: Lease | None,
) -> EpochRecord:
    checkpoint = _encode_checkpoint(run_id, spec, result)
    network = explained_network(result.network, spec.source.image_shape)
    layer = network.default_layer
    maps = explain_images(
        network,
        [probe.pixels for probe in probes],
        layer,
        list(PAPER_METHODS),
        input_spec=spec.input,
    )
    state = training_state.encode_optimizer(result.optimizer, result.epoch)
    return EpochRecord(
        run_id=run_id,
        epoch=result.epoch,
        lease=lease,
        metrics=_metrics(result),
        checkpoint=checkpoint,
        training_state=StoredTrainingState(
            result.epoch,
            checkpoints.digest(state),
            len(state),
            training_states.state_key(
                run_id, result.epoch, is_retained=spec.retains_state(result.epoch)
            ),
        ),
        training_state_data=state,
        is_retained=spec.retains_state,
        heatmaps=list(_probe_heatmaps(run_id, spec, result.epoch, probes, checkpoint, layer, maps)),
        predictions=[
            Prediction(run_id, result.epoch, str(probe.reference), maps.probabilities[i])
            for i, probe in enumerate(probes)
        ],
    )


def _encode_checkpoint(run_id: int, spec: RunSpec, result: EpochResult) -> EncodedCheckpoint:
    name = f"runs/{run_id}/epochs/{result.epoch}"
    if not spec.has_program:
        header = CheckpointHeader.for_epoch(spec, result.epoch)
        data = checkpoints.encode(result.network, header)
        row = Checkpoint(checkpoints.digest(data), len(data), f"{name}.safetensors")
        return EncodedCheckpoint(row, data)
    encoded = program_checkpoints.encode(result.network, spec.source.image_shape, result.epoch)
    program, data = encoded.program, encoded.manifest.encode()
    row = Checkpoint(checkpoints.digest(data), len(data), f"{name}.json")
    network = StoredNetwork(program.identity, program.to_json(), program.default_layer)
    return EncodedCheckpoint(row, data, network, encoded.files)


def _metrics(result: EpochResult) -> EpochMetrics:
    return EpochMetrics(
        result.train_loss,
        result.train_accuracy,
        result.test_loss,
        result.test_accuracy,
        result.per_class_accuracy,
        result.learning_rate,
        result.seconds,
    )


def _probe_heatmaps(
    run_id: int,
    spec: RunSpec,
    epoch: int,
    probes: Sequence[ProbeImage],
    checkpoint: EncodedCheckpoint,
    layer: str,
    maps: ClassMaps,
) -> Iterator[Heatmap]:
    """Rows of the probes' maps by the paper's methods, each for the probe's own class.

    For an upload, which has no label, it is the class that this epoch's network predicts.
    """
    classes = [
        maps.predicted_class(i) if probe.label is None else probe.label
        for i, probe in enumerate(probes)
    ]
    for method in PAPER_METHODS:
        for i, probe in enumerate(probes):
            yield heatmap_of(
                maps.class_map(method, i, classes[i]),
                run_id=run_id,
                epoch=epoch,
                checkpoint=checkpoint.row.sha256,
                dataset=spec.image_set,
                image=str(probe.reference),
                layer=layer,
                method=method,
                class_index=classes[i],
            )
