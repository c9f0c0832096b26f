"""Exporting many maps as one file of arrays, epoch by epoch: memory is bounded by one epoch."""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.core.cams.layers import resolve_layers
from service.core.cams.maps import explain_images
from service.core.cams.methods import MethodSpec
from service.core.images import from_png
from service.core.progress import track
from service.errors import ImageNotFound
from service.files import output_file
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.selection import select_usable_epochs
from service.store import map_inputs


def export_maps(
    pipeline: MapPipeline,
    run_id: int,
    epochs: str,
    method_text: str,
    path: Path,
    *,
    layer: str | None = None,
    image_count: int | None = None,
) -> int:
    """Write the maps of images for all classes at those epochs as npz; returns their number.

    The images are the run's probes, or the first `image_count` test images of its dataset. Arrays:
    `epochs` (E,), `images` (N,) references, `classes` (C,) names, and for each epoch
    `epoch-00001/signed` float32 (N, C, H, W), before ReLU and unscaled, with
    `epoch-00001/probabilities` (N, C). Quarantined epochs are left out.

    Raises RunNotFound, EpochNotFound, EpochQuarantined, ImageNotFound, InvalidValue,
    DatasetUnavailable, FileRefused.
    """
    with pipeline.store.read_session() as session:
        spec = map_inputs.get_spec(session, run_id)
        run = pipeline.runs.describe(lambda: session, run_id, spec)
        images = map_inputs.list_probes(session, run_id)
        available = map_inputs.list_epochs(session, run_id)
    method = MethodSpec.parse(method_text)
    resolved_layer = resolve_layers(method.method, layer, run.layers)
    if image_count is not None:
        images = pipeline.images.first_test_images(run, image_count)
    if not images:
        raise ImageNotFound("by default", "the run has no probes yet")
    selection = select_usable_epochs(epochs, run_id, available)
    pixels = [from_png(image.png) for image in images]
    class_names = run.class_names
    with output_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        _write(archive, "epochs", np.array(selection.numbers))
        _write(archive, "images", np.array([image.reference for image in images]))
        _write(archive, "classes", np.array(class_names))
        for epoch in track(selection.epochs):
            # Not from the cache: each network is needed once.
            network = pipeline.networks.load(epoch, run.spec)
            maps = explain_images(
                network,
                pixels,
                resolved_layer,
                [str(method)],
                memory_bytes=pipeline.computer.memory_bytes,
                input_spec=run.input_spec,
            )
            prefix = f"epoch-{epoch.epoch:05d}"
            _write(archive, f"{prefix}/signed", maps.signed[str(method)])
            _write(archive, f"{prefix}/probabilities", maps.probabilities)
    return len(selection.epochs) * len(images) * len(class_names)


def _write(archive: zipfile.ZipFile, name: str, array: npt.NDArray[np.generic]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
