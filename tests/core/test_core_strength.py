"""Strength bars: a map's peak on a logarithmic scale from 1e-7 to 10."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from service.core.cams.maps import ClassMap
from service.core.models import Placement
from service.core.render.cells import Cell, Scale, Style
from service.core.render.sheet import CellStyle, render_contact_sheet, render_strip
from service.core.render.strength import FILL, TRACK, draw_bar, strength

SIZE = 48


def map_with_peak(peak: float) -> ClassMap:
    return ClassMap(np.array([[0, peak / 2], [peak / 4, peak]], np.float32), activation_peak=1.0)


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        (1e-3, 0.5),  # four of eight decades
        (1e-5, 0.25),
        (10.0, 1.0),
        (33.0, 1.0),
        (6.6e-7, math.log10(6.6) / 8),
        (0.0092, (math.log10(9.2) + 4) / 8),
        (1e-7, 0.0),  # blank, as its peak does not exceed the threshold
        (0.0, 0.0),
        (math.inf, 0.0),
        (math.nan, 0.0),
    ],
)
def test_strength_is_the_position_of_the_peak_on_a_log_scale(peak, expected):
    assert strength(map_with_peak(peak)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("peak", "pixels"), [(1e-3, 40), (10.0, 80), (1.1e-7, 1), (1e-8, 0), (0.0092, 50)]
)
def test_bar_is_as_long_as_the_strength(peak, pixels):
    page = Image.new("RGB", (100, 10))
    draw_bar(ImageDraw.Draw(page), map_with_peak(peak), 10, 3, 80, 4)
    bar = np.asarray(page)
    expected = np.zeros_like(bar)
    expected[3:7, 10:90] = TRACK
    expected[3:7, 10 : 10 + pixels] = FILL
    assert np.array_equal(bar, expected)


def test_cells_of_sheets_and_strips_have_bars_below_them():
    peaks = [1e-3, 1e-5, 1e-8]
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    maps = [map_with_peak(peak) for peak in peaks]
    cells = [
        Cell(class_map, Scale.from_map(class_map), image, Placement(1, 4)) for class_map in maps
    ]
    cell_style = CellStyle(Style.GRAY, "gray", SIZE)
    headers = ["0", "1", "2"]
    pages = [
        render_contact_sheet([cells, cells], ["a", "b"], headers, cell_style, "title", "footer"),
        render_strip(cells, headers, cell_style, "title", "footer"),
    ]
    for png, rows in zip(pages, (2, 1), strict=True):
        with Image.open(io.BytesIO(png)) as picture:
            page = np.asarray(picture.convert("RGB"))
        fill, track = ((page == color).all(axis=2) for color in (FILL, TRACK))
        lines = np.flatnonzero(track.any(axis=1))
        assert len(lines) == 4 * rows
        assert (fill[lines].sum(axis=1) == 24 + 12).all()
        assert (track[lines].sum(axis=1) == 3 * SIZE - 36).all()
