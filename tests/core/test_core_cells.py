"""Rendering one map: equation 3, shared scales and the four styles."""

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from service.core.cams.maps import Blank, ClassMap
from service.core.models import Placement
from service.core.render.cells import (
    HATCH,
    Cell,
    Scale,
    Style,
    cell_levels,
    cell_rgb,
    hatch,
    image_rgb,
    normalize_to_scale,
)
from service.core.render.colormaps import color_table
from service.core.render.single import render_map

SIDE = 24
IMAGE = torch.arange(SIDE * SIDE).reshape(1, SIDE, SIDE).remainder(256).to(torch.uint8)
EACH_PIXEL = Placement(first_center=0, step=1)  # one map position per image pixel
CAUSES = [Blank.SATURATED, Blank.ALL_NEGATIVE, Blank.DEAD]

finite = st.floats(-1e6, 1e6, width=32)
maps = arrays("float32", (4, 4), elements=finite)


def to_class_map(signed: np.ndarray) -> ClassMap:
    return ClassMap(signed.astype(np.float32), activation_peak=1.0)


def cell(signed: np.ndarray, scale: Scale | None = None) -> Cell:
    class_map = to_class_map(signed)
    return Cell(class_map, scale or Scale.from_map(class_map), IMAGE, EACH_PIXEL)


def ramp() -> np.ndarray:
    """A map from -1 to 3 of the rendered size, so that nothing is resized."""
    return np.linspace(-1, 3, SIDE * SIDE).reshape(SIDE, SIDE)


def blank_cell(cause: Blank) -> Cell:
    """A cell that is blank with this cause."""
    signed, activation_peak = {
        Blank.SATURATED: (ramp() * 1e-9, 1.0),
        Blank.ALL_NEGATIVE: (ramp() - 3, 1.0),
        Blank.DEAD: (ramp() * 0, 0.0),
    }[cause]
    class_map = ClassMap(signed.astype(np.float32), activation_peak)
    blank = Cell(class_map, Scale.from_map(class_map), IMAGE, EACH_PIXEL)
    assert blank.blank_cause is cause
    return blank


@given(maps)
def test_normalization_is_equation_3_of_the_paper(signed):
    class_map = to_class_map(signed)
    ours = normalize_to_scale(class_map.values, Scale.from_map(class_map))
    relu = np.maximum(signed.astype(np.float64), 0)
    extent = relu.max() - relu.min()
    theirs = (relu - relu.min()) / extent if extent > 0 else np.zeros_like(relu)
    assert not np.isnan(ours).any()
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, -2.0, 5.0])
def test_constant_map_is_normalized_to_zeros(value):
    class_map = to_class_map(np.full((3, 3), value))
    assert (
        normalize_to_scale(class_map.values, Scale.from_map(class_map)).tolist() == [[0.0] * 3] * 3
    )


@settings(deadline=None)
@example(np.full((4, 4), 4, "float32"), 0.0, float(np.finfo("float32").tiny))
@given(maps, st.floats(-10, 10, width=32), st.floats(0, 10, width=32))
def test_shared_scale_clips_values_outside_it(signed, minimum, peak):
    normalized = normalize_to_scale(to_class_map(signed).values, Scale(minimum, peak))
    assert not np.isnan(normalized).any()
    assert ((normalized >= 0) & (normalized <= 1)).all()
    low = max(0.0, minimum)
    if peak > low:
        assert (normalized[signed >= peak] == 1).all()
        assert (normalized[signed <= low] == 0).all()


def test_shared_scale_keeps_differences_between_maps():
    strong, weak = ramp(), ramp() / 4
    shared = Scale.from_map(to_class_map(strong))
    assert cell_levels(cell(strong, shared), Style.GRAY, SIDE).max() == 255
    assert cell_levels(cell(weak, shared), Style.GRAY, SIDE).max() == 64
    assert cell_levels(cell(weak), Style.GRAY, SIDE).max() == 255


def test_levels_are_equation_3_in_256_steps():
    levels = cell_levels(cell(ramp()), Style.GRAY, SIDE)
    assert levels.dtype == np.uint8
    assert np.array_equal(levels, np.rint(np.maximum(ramp(), 0) / 3 * 255))


def test_map_is_interpolated_bilinearly_between_its_positions():
    # Four positions on pixels 4, 9, 14 and 19 of 24.
    signed = np.arange(16.0).reshape(4, 4)
    class_map = to_class_map(signed)
    levels = cell_levels(
        Cell(class_map, Scale.from_map(class_map), IMAGE, Placement(4, 5)), Style.GRAY, SIDE
    )
    assert levels[4::5, 4::5].tolist() == np.rint(signed / 15 * 255).tolist()
    row, column = levels[4, 4:20], levels[4:20, 4]
    assert np.abs(row - np.interp(range(16), range(0, 16, 5), [0, 1, 2, 3]) * 17).max() <= 1
    assert np.abs(column - np.interp(range(16), range(0, 16, 5), [0, 4, 8, 12]) * 17).max() <= 1


def test_map_fades_to_0_beyond_its_outermost_positions():
    class_map = to_class_map(np.ones((4, 4)))
    levels = cell_levels(
        Cell(class_map, Scale(0, 1), IMAGE, Placement(6, 4)), Style.GRAY, SIDE
    ).astype(int)
    assert (levels[6:19, 6:19] == 255).all()  # at pixels 6, 10, 14 and 18, and between them
    assert np.abs(levels[10, :7] - np.array([0, 0, 0, 64, 128, 191, 255])).max() <= 1
    assert np.array_equal(levels[:, :], levels.T)
    assert not levels[:3].any()
    assert not levels[22:].any()


@pytest.mark.parametrize("size", [16, 24, 48, 100])
def test_spot_is_rendered_at_its_pixel_at_any_size(size):
    signed = np.zeros((SIDE, SIDE))
    signed[5, 18] = 1
    levels = cell_levels(cell(signed), Style.GRAY, size).astype(float)
    ys, xs = np.mgrid[:size, :size]
    center = [(coordinates * levels).sum() / levels.sum() for coordinates in (ys, xs)]
    expected = [(pixel + 0.5) * size / SIDE - 0.5 for pixel in (5, 18)]
    assert center == pytest.approx(expected, abs=0.5)


def test_gray_and_heatmap_color_the_levels():
    levels = cell_levels(cell(ramp()), Style.GRAY, SIDE)
    gray = cell_rgb(cell(ramp()), Style.GRAY, "jet", SIDE)
    heat = cell_rgb(cell(ramp()), Style.HEATMAP, "viridis", SIDE)
    assert np.array_equal(gray, np.stack([levels] * 3, axis=2))
    assert np.array_equal(heat, color_table("viridis")[levels])


@pytest.mark.parametrize("cause", CAUSES)
def test_blank_overlay_is_a_dimmed_image_with_stripes(cause):
    pixels = cell_rgb(blank_cell(cause), Style.OVERLAY, "jet", 64)
    striped = (pixels == HATCH).all(axis=2)
    assert 0.05 < striped.mean() < 0.5
    assert np.array_equal(pixels[~striped], (image_rgb(IMAGE, 64) // 2 + 24)[~striped])


def test_stripes_differ_by_cause():
    images = [cell_rgb(blank_cell(cause), Style.OVERLAY, "jet", 32) for cause in CAUSES]
    for image, other_image in itertools.combinations(images, 2):
        assert not np.array_equal(image, other_image)


def test_stripes_have_different_directions():
    def stripes(cause: Blank) -> np.ndarray:
        return (hatch(np.zeros((32, 32, 3), np.uint8), cause) == HATCH).all(axis=2)

    rising, falling = stripes(Blank.SATURATED), stripes(Blank.ALL_NEGATIVE)
    assert np.array_equal(rising[1:, :-1], rising[:-1, 1:])  # the pixel below and to the left
    assert np.array_equal(falling[1:, 1:], falling[:-1, :-1])
    assert not np.array_equal(rising, falling)
    assert np.array_equal(stripes(Blank.DEAD), rising | falling)
    level = stripes(Blank.NOT_FINITE)
    assert np.array_equal(level[:, 1:], level[:, :-1])
    assert level.any()
    assert not level.all()


@pytest.mark.parametrize("style", list(Style))
def test_non_finite_map_is_hatched_in_every_style(style):
    result = ClassMap(np.array([[1, np.nan], [0, 1]], np.float32), 1.0)
    cell = Cell(result, Scale(-1, 1), IMAGE, EACH_PIXEL)
    expected = hatch(image_rgb(IMAGE, SIDE), Blank.NOT_FINITE)
    assert np.array_equal(cell_rgb(cell, style, "jet", SIDE), expected)


def test_largest_floats_are_rendered_in_the_signed_style():
    largest = np.finfo(np.float32).max
    result = ClassMap(
        np.array([[largest, -largest]], np.float32).repeat(SIDE // 2, 1).repeat(SIDE, 0), 1.0
    )
    levels = cell_levels(
        Cell(result, Scale.from_map(result), IMAGE, EACH_PIXEL), Style.SIGNED, SIDE
    )
    assert levels[1:-1, 1].min() > 250
    assert levels[1:-1, -2].max() < 5


@pytest.mark.parametrize("style", [Style.HEATMAP, Style.GRAY])
@pytest.mark.parametrize("cause", CAUSES)
def test_blank_map_is_rendered_as_zeros(style, cause):
    assert not cell_levels(blank_cell(cause), style, SIDE).any()


def test_signed_style_maps_0_to_the_middle_of_the_color_table():
    signed = ramp()
    signed[12, :3] = 0
    levels = cell_levels(cell(signed), Style.SIGNED, SIDE).astype(int)
    assert set(levels[12, :3]) <= {127, 128}
    assert levels.max() == 255
    assert levels.min() == round(127.5 - 127.5 / 3)  # -1 on a scale from -3 to 3


@settings(deadline=None)
@given(arrays("float32", (SIDE, SIDE), elements=st.floats(-100, 100, width=32)))
def test_signed_style_is_symmetric(signed):
    levels, negated_levels = (
        cell_levels(cell(values), Style.SIGNED, SIDE).astype(int) for values in (signed, -signed)
    )
    assert np.abs(levels + negated_levels - 255).max() <= 1
    assert (levels[signed > 0] >= 127).all()
    assert (levels[signed < 0] <= 128).all()


def test_signed_map_of_zeros_has_the_middle_color():
    levels = cell_levels(cell(np.zeros((SIDE, SIDE))), Style.SIGNED, 16)
    assert set(levels.ravel()) <= {127, 128}


@pytest.mark.parametrize("size", [16, 28, 56, 224])
@pytest.mark.parametrize("depth", [1, 3])
def test_enlarged_image_has_sharp_pixels(depth, size):
    image = torch.randint(0, 256, (depth, 28, 28)).to(torch.uint8)
    pixels = image_rgb(image, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    if size >= 28:
        factor = size // 28
        expected = image.numpy().repeat(factor, 1).repeat(factor, 2).transpose(1, 2, 0)
        assert np.array_equal(pixels, np.broadcast_to(expected, (size, size, 3)))


def test_reduced_image_keeps_its_mean():
    image = torch.randint(0, 256, (1, 64, 64)).to(torch.uint8)
    assert image_rgb(image, 16).mean() == pytest.approx(image.float().mean().item(), abs=2)


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize(
    "rendered_cell", [cell(ramp()), blank_cell(Blank.ALL_NEGATIVE)], ids=["", "blank"]
)
def test_png_of_a_map_has_the_colors_of_its_cell(style, rendered_cell):
    with Image.open(io.BytesIO(render_map(rendered_cell, style, "turbo", 40))) as image:
        modes = {Style.OVERLAY: "RGB", Style.GRAY: "L", Style.HEATMAP: "P", Style.SIGNED: "P"}
        assert image.mode == modes[style]
        assert image.size == (40, 40)
        pixels = np.asarray(image.convert("RGB"))
    assert np.array_equal(pixels, cell_rgb(rendered_cell, style, "turbo", 40))
