"""Recording an epoch: its checkpoint, its measures and its probes' maps, in one transaction."""

import hashlib
from collections.abc import Iterator, Sequence

from service import failpoints
from service.core import checkpoints, training_state
from service.core.cams.maps import ClassMap, ClassMaps, explain_images
from service.core.cams.methods import PAPER_METHODS
from service.core.checkpoints import CheckpointHeader
from service.core.images import ProbeImage
from service.core.render.atlas import atlas_levels
from service.core.spec import RunSpec
from service.core.training import EpochResult
from service.errors import RunCancelled
from service.store import epochs, heatmaps, predictions, run_lifecycle, training_states
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.heatmaps import Heatmap
from service.store.predictions import Prediction
from service.store.run_lifecycle import Lease
from service.store.store import Store
from service.store.training_states import StoredTrainingState

ENGINE_VERSION = 1
"""Part of every map's identity: raised when the same request would give other bytes."""


def map_identity(
    checkpoint: str, dataset: str, image: str, layer: str, method: str, class_index: int
) -> str:
    """What a map depends on, hashed: equal identities are equal maps."""
    parts = (ENGINE_VERSION, checkpoint, dataset, image, layer, method, class_index)
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def heatmap_of(
    seen: ClassMap,
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
    """The row of a map: its metadata, and its levels."""
    levels = atlas_levels(seen)
    return Heatmap(
        run_id=run_id,
        epoch=epoch,
        image=image,
        class_index=class_index,
        method=method,
        layer=layer,
        peak=seen.peak,
        minimum=seen.minimum,
        activation_peak=seen.activation_peak,
        blank=seen.blank_cause().value,
        etag=map_identity(checkpoint, dataset, image, layer, method, class_index),
        levels=levels.tobytes(),
        height=levels.shape[0],
        width=levels.shape[1],
    )


def record_epoch(
    store: Store,
    run_id: int,
    spec: RunSpec,
    result: EpochResult,
    probes: Sequence[ProbeImage],
    lease: Lease | None = None,
) -> None:
    """Keep what an epoch gave: all of it is visible at once, or none.

    Raises RunCancelled when the run is not running any more, or under another worker's lease.
    """
    header = CheckpointHeader(
        spec.architecture,
        result.epoch,
        spec.dataset,
        spec.source.image_shape,
        spec.source.class_names,
    )
    failpoints.reach("before-encode")
    data = checkpoints.encode(result.network, header)
    sha256 = checkpoints.digest(data)
    layer = result.network.last_convolution
    seen = explain_images(
        result.network, [probe.pixels for probe in probes], layer, list(PAPER_METHODS)
    )
    rows = list(_probe_heatmaps(run_id, spec, result.epoch, probes, sha256, layer, seen))
    key = f"runs/{run_id}/epochs/{result.epoch}.safetensors"
    state = training_state.encode_optimizer(result.optimizer, result.epoch)
    stored = StoredTrainingState(
        result.epoch,
        checkpoints.digest(state),
        len(state),
        training_states.state_key(run_id, result.epoch),
    )
    failpoints.reach("before-begin")
    with store.write_session() as session:
        # First, so that nothing else is written for a run that was ended from outside.
        if not run_lifecycle.advance(session, run_id, result.epoch, lease=lease):
            raise RunCancelled(f"Run {run_id} is not running any more.")
        failpoints.reach("after-advance")
        store.blobs.put(session, key, data)
        failpoints.reach("after-blob")
        store.blobs.put(session, stored.blob_key, state)
        if (replaced := training_states.replace(session, run_id, stored)) is not None:
            store.blobs.delete(session, [replaced])
        failpoints.reach("after-state")
        epochs.add(
            session, run_id, result.epoch, _measures(result), Checkpoint(sha256, len(data), key)
        )
        failpoints.reach("after-epoch-row")
        heatmaps.add_missing(session, rows)
        failpoints.reach("after-maps")
        predictions.add_missing(
            session,
            (
                Prediction(run_id, result.epoch, str(probe.reference), seen.probabilities[i])
                for i, probe in enumerate(probes)
            ),
        )
        failpoints.reach("before-commit")
    failpoints.reach("after-commit")


def _measures(result: EpochResult) -> EpochMetrics:
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
    checkpoint: str,
    layer: str,
    seen: ClassMaps,
) -> Iterator[Heatmap]:
    """Rows of the probes' maps for their own labels, by the paper's methods.

    An upload has none: its maps are for the class that the network of this epoch predicts.
    """
    classes = [
        seen.predicted_class(i) if p.label is None else p.label for i, p in enumerate(probes)
    ]
    for method in PAPER_METHODS:
        for position, probe in enumerate(probes):
            yield heatmap_of(
                seen.class_map(method, position, classes[position]),
                run_id=run_id,
                epoch=epoch,
                checkpoint=checkpoint,
                dataset=spec.dataset,
                image=str(probe.reference),
                layer=layer,
                method=method,
                class_index=classes[position],
            )
