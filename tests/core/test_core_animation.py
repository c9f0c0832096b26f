"""Animations: one frame per epoch, looping, with a longer last frame."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.core.cams.maps import ClassMap
from service.core.models import Placement
from service.core.render.animation import (
    ANIMATIONS,
    FRAME_MILLISECONDS,
    LAST_FRAME_MILLISECONDS,
    MARKER,
    AccuracyCurves,
    render_animation,
    render_frames,
)
from service.core.render.cells import Cell, Scale, Style
from service.core.render.sheet import CellStyle

STYLE = CellStyle(Style.HEATMAP, "jet", 48)


def cells(epochs: int) -> list[Cell]:
    """Cells whose bright spot moves, so that no frame equals the previous one."""
    result = []
    for epoch in range(epochs):
        signed = np.zeros((6, 6), np.float32)
        signed[epoch // 6 % 6, epoch % 6] = 1
        class_map = ClassMap(signed, activation_peak=1.0)
        image = torch.zeros(1, 8, 8, dtype=torch.uint8)
        result.append(
            Cell(class_map, Scale.from_map(class_map), image, Placement(first_center=1, step=1))
        )
    return result


@pytest.mark.parametrize("kind", ANIMATIONS)
@pytest.mark.parametrize("epochs", [2, 11])
def test_animation_has_one_frame_per_epoch_in_order(kind, epochs):
    epoch_cells = cells(epochs)
    captions = [f"epoch {epoch}" for epoch in range(epochs)]
    pages = [
        np.asarray(page, float)
        for page in render_frames({"proposed": epoch_cells}, captions, STYLE)
    ]
    with Image.open(
        io.BytesIO(render_animation({"proposed": epoch_cells}, captions, STYLE, kind))
    ) as film:
        assert film.format == kind.upper()
        assert film.n_frames == epochs
        assert film.info["loop"] == 0
        for epoch in range(epochs):
            film.seek(epoch)
            pixels = np.asarray(film.convert("RGB"), float)
            assert pixels.shape == pages[epoch].shape
            # Both formats change colors slightly; the nearest frame must still be the correct one.
            distances = [np.abs(pixels - frame).mean() for frame in pages]
            assert int(np.argmin(distances)) == epoch
            assert distances[epoch] < 12


@pytest.mark.parametrize("kind", ANIMATIONS)
def test_last_frame_is_shown_longest(kind):
    with Image.open(
        io.BytesIO(render_animation({"m": cells(4)}, list("0123"), STYLE, kind))
    ) as film:
        durations = []
        for epoch in range(4):
            film.seek(epoch)
            film.load()
            durations.append(film.info["duration"])
    assert durations == [FRAME_MILLISECONDS] * 3 + [LAST_FRAME_MILLISECONDS]


@pytest.mark.parametrize("kind", ANIMATIONS)
def test_animation_of_one_epoch_is_one_frame(kind):
    with Image.open(
        io.BytesIO(render_animation({"m": cells(1)}, ["epoch 0"], STYLE, kind))
    ) as film:
        assert getattr(film, "n_frames", 1) == 1


def test_methods_stand_side_by_side_above_a_marker_that_moves():
    rows = {"conventional": cells(3), "proposed": cells(3)[::-1]}
    accuracy = AccuracyCurves([0, 1, 2], [0.1, 0.5, 0.9], [None, 0.4, 0.8])
    frames = render_frames(rows, ["epoch 0", "epoch 1", "epoch 2"], STYLE, accuracy)
    columns = []
    for i, frame in enumerate(frames):
        pixels = np.asarray(frame)
        for row in rows.values():
            expected = STYLE.cell_rgb(row[i])
            windows = np.lib.stride_tricks.sliding_window_view(pixels, (48, 48, 3))[:, :, 0]
            assert (windows == expected).all(axis=(2, 3, 4)).any()
        columns.append(np.flatnonzero((pixels == MARKER).all(axis=2).any(axis=0)).mean())
    assert len({frame.size for frame in frames}) == 1
    assert columns == sorted(columns)
    assert columns[1] == pytest.approx(np.mean([columns[0], columns[2]]), abs=1.5)
