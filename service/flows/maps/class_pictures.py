"""Pictures of classes: exchange maps, and class-mean maps over the epochs."""

from collections.abc import Sequence

import numpy as np

from service.core.images import Pixels, from_png
from service.core.insight.class_means import (
    CLASS_MEAN_METHOD,
    IMAGES_PER_CLASS,
    ClassImages,
    class_mean_maps,
)
from service.core.insight.shortcuts import ExchangeTest
from service.core.render.map_grid import MapCell, render_map_grid
from service.errors import ImageNotFound, InvalidValue
from service.flows.exchange_tests import exchange_test
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, Result, defer_over_epochs
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.pictures import Picture
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.selection import EpochSelection, check_cells, select_usable_epochs
from service.flows.recording import ENGINE_VERSION
from service.store import map_inputs
from service.store.images import StoredImage

PICTURE_VERSION = 1
CELLS_PER_ROW = 10
MAX_CLASSES = 100
MAX_CELLS = 600
DEFAULT_EPOCHS = 8


def exchange_map(pipeline: MapPipeline, run_id: int, epoch: int | None) -> Deferred[Picture]:
    """What would turn other images into each class, as PNG. Raises as `exchange_test`.

    And InvalidValue where the test of the epoch has no map.
    """
    deferred = exchange_test(pipeline, run_id, epoch)
    with pipeline.store.read_session() as session:
        spec = map_inputs.get_spec(session, run_id)
        run = pipeline.runs.describe(lambda: session, run_id, spec)
    identity = identity_of("exchange-map", PICTURE_VERSION, deferred.identity, run.class_names)

    def make() -> Result[Picture]:
        test = deferred.compute().value
        if test.exchange_map is None:
            reason = test.gap or f"more than {MAX_CLASSES} classes"
            raise InvalidValue("epoch", f"this epoch has no exchange map: {reason}")
        return Result(identity, Picture(_draw_exchange_map(run_id, run, test)))

    return Deferred(identity, make)


def _draw_exchange_map(run_id: int, run: ExplainedRun, test: ExchangeTest) -> bytes:
    values = test.exchange_map
    assert values is not None  # noqa: S101  of the caller
    # One scale for all classes: a place that decides a class stands out among strokes.
    scale = float(np.abs(values).max())
    cells = []
    for name, class_map in zip(run.class_names, values, strict=True):
        row, column = np.unravel_index(int(class_map.argmax()), class_map.shape)
        share = float(class_map[row, column])
        caption = f"{name}: {share:.0%} at ({column}, {row})" if class_map.any() else f"{name}: -"
        cells.append(MapCell(class_map, scale, caption))
    rows = [cells[i : i + CELLS_PER_ROW] for i in range(0, len(cells), CELLS_PER_ROW)]
    return render_map_grid(
        rows,
        f"Run {run_id}, epoch {test.epoch}: what would turn other images into each class",
        "Expected gradients from images of other classes; share of the evidence per pixel, "
        f"full color: {scale:.1%}",
    )


def class_means(
    pipeline: MapPipeline, run_id: int, epochs: str | None, classes: Sequence[int] | None
) -> Deferred[Picture]:
    """The mean map of each class at some epochs, as PNG: a row per class, a column per epoch.

    `epochs` None: up to DEFAULT_EPOCHS, denser at the start. Raises RunNotFound, EpochNotFound,
    InvalidValue, ImageNotFound, EpochQuarantined, DatasetUnavailable.
    """
    with pipeline.store.read_session() as session:
        spec = map_inputs.get_spec(session, run_id)
        epoch_rows = map_inputs.list_epochs(session, run_id)
        run = pipeline.runs.describe(lambda: session, run_id, spec)
        probes = map_inputs.list_probes(session, run_id)
    text = epochs or ",".join(map(str, _spread_epochs(len(epoch_rows) - 1)))
    selection = select_usable_epochs(text, run_id, epoch_rows)
    indices = list(range(len(run.class_names))) if classes is None else list(classes)
    if any(index >= len(run.class_names) for index in indices) or len(indices) > MAX_CLASSES:
        raise InvalidValue(
            "class_index",
            f"class indices are 0 to {len(run.class_names) - 1}, at most {MAX_CLASSES} of them",
        )
    check_cells(len(indices), selection.numbers, MAX_CELLS)

    def identify(usable_epochs: EpochSelection) -> str:
        return identity_of(
            *("class-means", PICTURE_VERSION, ENGINE_VERSION, run_id, run.class_names),
            *(indices, usable_epochs.checkpoints, usable_epochs.quarantined),
        )

    def compute(usable_epochs: EpochSelection) -> tuple[Picture, EpochSelection]:
        images = _images_of_classes(pipeline, run, probes, indices)
        content = _draw_class_means(pipeline, run_id, run, images, usable_epochs)
        return Picture(content), usable_epochs

    return defer_over_epochs(
        selection, identify, compute, map_count=len(indices) * len(selection.epochs)
    )


def _spread_epochs(last: int) -> list[int]:
    """Up to DEFAULT_EPOCHS of the epochs 0..last: networks change most at the start."""
    steps = np.geomspace(1, last + 1, min(DEFAULT_EPOCHS, last + 1)) - 1 if last > 0 else [0]
    return sorted({round(float(step)) for step in steps})


def _images_of_classes(
    pipeline: MapPipeline, run: ExplainedRun, probes: list[StoredImage], indices: Sequence[int]
) -> list[ClassImages]:
    """The first test images of each class; of a recorded run, its labeled probes."""
    pixels_by_class: dict[int, list[Pixels]] = {index: [] for index in indices}
    if run.spec is None:
        for probe in probes:
            if probe.label in pixels_by_class:
                pixels_by_class[probe.label].append(from_png(probe.png))
    else:
        data = pipeline.images.load_images(run.spec)
        labels = data.test.labels.tolist()
        for position, label in enumerate(labels):
            pixels = pixels_by_class.get(label)
            if pixels is not None and len(pixels) < IMAGES_PER_CLASS:
                pixels.append(data.test.images[position])
    images = [ClassImages(index, pixels) for index, pixels in pixels_by_class.items() if pixels]
    if not images:
        raise ImageNotFound("by default", "the run has no labeled images of these classes")
    return images


def _draw_class_means(
    pipeline: MapPipeline,
    run_id: int,
    run: ExplainedRun,
    images: Sequence[ClassImages],
    selection: EpochSelection,
) -> bytes:
    by_epoch = [
        class_mean_maps(pipeline.networks.load(epoch, run.spec), images, run.input_spec)
        for epoch in selection.epochs
    ]
    rows = []
    for position, class_images in enumerate(images):
        maps = [epoch_maps[position] for epoch_maps in by_epoch]
        underlay = class_images.mean_level
        # Untrained maps have sizes of their own, so each cell is scaled by itself.
        rows.append(
            [MapCell(values, float(np.abs(values).max()), underlay=underlay) for values in maps]
        )
    return render_map_grid(
        rows,
        f"Run {run_id}: mean map of each class",
        f"{CLASS_MEAN_METHOD}, up to {IMAGES_PER_CLASS} test images of each class over their mean "
        "image; each cell by its own scale",
        row_heads=[run.class_names[class_images.class_index] for class_images in images],
        column_heads=[f"epoch {number}" for number in selection.numbers],
    )
