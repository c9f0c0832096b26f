"""A strip that moves: a frame an epoch, endless, resting on its last."""

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
    render_animation,
)
from service.core.render.cells import Cell, Scale, Style
from service.core.render.sheet import CellStyle, render_frames

LOOK = CellStyle(Style.HEATMAP, "jet", 48)


def cells(epochs: int) -> list[Cell]:
    """Maps whose bright spot wanders: none equals the one before it."""
    result = []
    for epoch in range(epochs):
        signed = np.zeros((6, 6), np.float32)
        signed[epoch // 6 % 6, epoch % 6] = 1
        seen = ClassMap(signed, activation_peak=1.0)
        image = torch.zeros(1, 8, 8, dtype=torch.uint8)
        result.append(Cell(seen, Scale.from_map(seen), image, Placement(first_center=1, step=1)))
    return result


@pytest.mark.parametrize("kind", ANIMATIONS)
@pytest.mark.parametrize("epochs", [2, 11])
def test_an_animation_has_a_frame_an_epoch_in_their_order(kind, epochs):
    drawn = cells(epochs)
    captions = [f"epoch {epoch}" for epoch in range(epochs)]
    pages = [np.asarray(page, float) for page in render_frames(drawn, captions, LOOK)]
    with Image.open(io.BytesIO(render_animation(drawn, captions, LOOK, kind))) as film:
        assert film.format == kind.upper()
        assert film.n_frames == epochs
        assert film.info["loop"] == 0
        for epoch in range(epochs):
            film.seek(epoch)
            shown = np.asarray(film.convert("RGB"), float)
            assert shown.shape == pages[epoch].shape
            # Both formats change colors a little; the nearest frame is still the right one.
            distances = [np.abs(shown - frame).mean() for frame in pages]
            assert int(np.argmin(distances)) == epoch
            assert distances[epoch] < 12


@pytest.mark.parametrize("kind", ANIMATIONS)
def test_the_last_frame_stays_longest(kind):
    with Image.open(io.BytesIO(render_animation(cells(4), list("0123"), LOOK, kind))) as film:
        durations = []
        for epoch in range(4):
            film.seek(epoch)
            film.load()
            durations.append(film.info["duration"])
    assert durations == [FRAME_MILLISECONDS] * 3 + [LAST_FRAME_MILLISECONDS]


@pytest.mark.parametrize("kind", ANIMATIONS)
def test_one_epoch_is_one_still_frame(kind):
    with Image.open(io.BytesIO(render_animation(cells(1), ["epoch 0"], LOOK, kind))) as film:
        assert getattr(film, "n_frames", 1) == 1
        assert film.width == 48
