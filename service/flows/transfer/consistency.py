"""Consistency of the manifest of an exported run."""

from typing import Any

from service.core.datasets.dataset import is_upload
from service.errors import ImportRefused
from service.flows.transfer.contents import RunContents
from service.flows.transfer.manifest import ExportedState, Manifest
from service.store.run_status import RunStatus


def list_states(manifest: Manifest) -> list[ExportedState]:
    """The training states, by epoch."""
    last_state = manifest.training_state
    if last_state is None:
        return manifest.earlier_states
    last_epoch = manifest.run.epochs_done
    return [*manifest.earlier_states, ExportedState(epoch=last_epoch, state=last_state)]


def check_run(manifest: Manifest, contents: RunContents) -> None:
    """Raises ImportRefused unless the parts of the manifest are consistent."""
    run = manifest.run
    numbers = list(range(len(manifest.epochs)))
    values_by_kind: dict[str, list[Any]] = {"status": [*RunStatus], "epoch": numbers}
    checks = {
        "its epochs are not consecutive from 0": [e.epoch for e in manifest.epochs] == numbers,
        "its last epoch is not epochs_done": run.epochs_done == len(numbers) - 1,
        "it has more epochs than epochs_total": run.epochs_done <= run.epochs_total,
        "only a failed run has an error": (run.error is not None) == (run.status == "failed"),
        "its events are not numbered 1, 2, 3": [event.number for event in manifest.events]
        == list(range(1, len(manifest.events) + 1)),
        "its events refer to unknown epochs or statuses": all(
            list(event.data) == [event.kind]
            and type(event.data[event.kind]) in (int, str)
            and event.data[event.kind] in values_by_kind[event.kind]
            for event in manifest.events
        ),
        "its events do not contain each epoch once": sorted(
            event.data.get("epoch", -1) for event in manifest.events if event.kind == "epoch"
        )
        == numbers,
        "an image is marked as an upload and is none, or the reverse": all(
            is_upload(image.reference)
            == (image.upload is not None)
            == (image.label is None and image.reference.startswith("upload:"))
            for image in manifest.images
        ),
        "it has a training state but no epoch": manifest.training_state is None
        or run.epochs_done >= 0,
        "its earlier training states are not of different epochs before the last, in order": [
            state.epoch for state in manifest.earlier_states
        ]
        == sorted({state.epoch for state in manifest.earlier_states} & set(numbers[:-1])),
        "it has no loss and gradient norm of each step": manifest.divergence is None
        or len(manifest.divergence.losses) == len(manifest.divergence.gradient_norms),
        "it contains an image more than once": len({i.reference for i in manifest.images})
        == len(manifest.images),
        "an epoch does not have its measures": all(
            contents.has_measures(epoch) for epoch in manifest.epochs
        ),
    }
    for problem, holds in checks.items():
        if not holds:
            raise ImportRefused(problem)
