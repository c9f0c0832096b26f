"""Many maps as one file of arrays, written epoch by epoch: memory does not grow with the epochs."""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.core.cams.layers import resolve_layers
from service.core.cams.maps import explain_images
from service.core.cams.methods import MethodSpec
from service.core.images import from_png
from service.core.progress import track
from service.core.spec import RunSpec
from service.errors import ImageNotFound, InvalidValue
from service.files import output_file
from service.flows.selection import choose_epochs
from service.flows.viewing import Viewer
from service.store import images, runs


def export_maps(
    viewer: Viewer,
    run_id: int,
    epochs: str,
    explanation: str,
    out: Path,
    *,
    layer: str | None = None,
    count: int | None = None,
) -> int:
    """Write the maps of images for all classes at those epochs as npz; the number of maps.

    The images are the run's probes, or the first `count` test images of its dataset. Arrays:
    `epochs` (E,), `images` (N,) references, `classes` (C,) names, and for each epoch
    `epoch-00001/signed` float32 (N, C, H, W), before ReLU and unscaled, with
    `epoch-00001/probabilities` (N, C). Quarantined epochs are left out.

    Raises RunNotFound, EpochNotFound, EpochQuarantined, ImageNotFound, InvalidValue,
    DatasetUnavailable, FileRefused.
    """
    with viewer.store.read_session() as session:
        run = runs.get(session, run_id)
        watched = images.list_probes(session, run_id)
    spec = RunSpec.model_validate(run.spec)
    method = MethodSpec.parse(explanation)
    where = resolve_layers(method.method, layer, viewer.layers(spec))
    if count is not None:
        if not 1 <= count <= spec.source.test_size:
            raise InvalidValue("images", f"{spec.dataset} has 1 to {spec.source.test_size}")
        watched = viewer.test_images(spec.dataset, count)
    if not watched:
        raise ImageNotFound("by default", "the run has no probes yet")
    there = choose_epochs(epochs, run_id, viewer.epochs(run_id)).epochs
    chosen = [epoch.epoch for epoch in there]
    pixels = [from_png(image.png) for image in watched]
    names = spec.source.class_names
    with output_file(out) as file, zipfile.ZipFile(file, "w") as archive:
        _write(archive, "epochs", np.array(chosen))
        _write(archive, "images", np.array([image.reference for image in watched]))
        _write(archive, "classes", np.array(names))
        for epoch in track(there):
            number = epoch.epoch
            # Not from the cache: each network is needed once.
            network = viewer.decoded(viewer.checkpoint(epoch), epoch)
            seen = explain_images(
                network, pixels, where, [str(method)], memory_bytes=viewer.memory_bytes
            )
            _write(archive, f"epoch-{number:05d}/signed", seen.signed[str(method)])
            _write(archive, f"epoch-{number:05d}/probabilities", seen.probabilities)
    return len(chosen) * len(watched) * len(names)


def _write(archive: zipfile.ZipFile, name: str, array: npt.NDArray[np.generic]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
