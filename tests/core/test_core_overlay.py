"""Overlays: the colors of a map over its image, with an opacity that follows the map."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.core.cams.maps import ClassMap
from service.core.models import Placement
from service.core.render.cells import Cell, Scale, Style, cell_rgb, image_rgb, overlay_rgb
from service.core.render.single import render_map

WHITE, BLACK = [255, 255, 255], [0, 0, 0]


@pytest.mark.parametrize(
    ("level", "image", "opacity", "pixel"),
    [
        # viridis: level 255 is (253, 231, 37), level 64 is (59, 82, 139), level 0 (68, 1, 84).
        (0, WHITE, 1.0, WHITE),
        (0, [10, 20, 30], 0.85, [10, 20, 30]),
        (255, BLACK, 1.0, [253, 231, 37]),
        (255, WHITE, 1.0, [253, 231, 37]),
        # a = 128/256: (253 + 0) / 2 = 126.5, rounded up; (253 + 255) / 2 = 254.
        (255, BLACK, 0.5, [127, 116, 19]),
        (255, WHITE, 0.5, [254, 243, 146]),
        # a = 0.5 * sqrt(64/255), as 64/256: 59 / 4 + 255 * 3 / 4 = 206.
        (64, WHITE, 0.5, [206, 212, 226]),
        # a = 0.85, as 218/256: 253 * 218 / 256 = 215.4.
        (255, BLACK, 0.85, [215, 197, 32]),
        (255, WHITE, 0.0, WHITE),
    ],
)
def test_pixel_mixes_color_and_image_by_level_and_opacity(level, image, opacity, pixel):
    levels = np.full((1, 1), level, np.uint8)
    images = np.array([[image]], np.uint8)
    assert overlay_rgb(levels, images, "viridis", opacity).tolist() == [[pixel]]


def overlay_cell(signed: list[list[float]], side: int) -> Cell:
    """A map over a random image, with a position on each of its pixels."""
    image = np.random.default_rng(0).integers(0, 256, (3, side, side), np.uint8)
    class_map = ClassMap(np.array(signed, np.float32), activation_peak=1.0)
    return Cell(class_map, Scale.from_map(class_map), torch.from_numpy(image), Placement(0, 1))


def test_overlay_is_transparent_where_the_map_is_zero():
    cell = overlay_cell([[0, -1, 2], [0, 0, 1], [0, 0, 0]], 3)
    overlay, image = cell_rgb(cell, Style.OVERLAY, "viridis", 3), image_rgb(cell.image, 3)
    colored = (overlay != image).any(axis=2)
    assert colored.tolist() == [
        [False, False, True],
        [False, False, True],
        [False, False, False],
    ]


def test_opacity_is_that_of_the_png_too():
    cell = overlay_cell([[0, 1], [2, 4]], 2)
    for opacity in (0.0, 0.3, 1.0):
        png = render_map(cell, Style.OVERLAY, "viridis", 16, opacity=opacity)
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture)
        expected = cell_rgb(cell, Style.OVERLAY, "viridis", 16, opacity=opacity)
        assert np.array_equal(pixels, expected)
    assert np.array_equal(
        cell_rgb(cell, Style.OVERLAY, "viridis", 16, opacity=0), image_rgb(cell.image, 16)
    )
