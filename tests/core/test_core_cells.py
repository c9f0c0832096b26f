"""One map as a picture: equation 3, shared scales, and the four styles."""

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
EACH_PIXEL = Placement(first_center=0, step=1)  # a position of the map for each of the image
CAUSES = [Blank.SATURATED, Blank.ALL_NEGATIVE, Blank.DEAD]

finite = st.floats(-1e6, 1e6, width=32)
maps = arrays("float32", (4, 4), elements=finite)


def result(signed: np.ndarray) -> ClassMap:
    return ClassMap(signed.astype(np.float32), activation_peak=1.0)


def cell(signed: np.ndarray, scale: Scale | None = None) -> Cell:
    one = result(signed)
    return Cell(one, scale or Scale.from_map(one), IMAGE, EACH_PIXEL)


def ramp() -> np.ndarray:
    """A map of the drawn size, so that nothing is resized, from -1 to 3."""
    return np.linspace(-1, 3, SIDE * SIDE).reshape(SIDE, SIDE)


def blank_cell(cause: Blank) -> Cell:
    """A cell that is blank for this cause."""
    signed, activation_peak = {
        Blank.SATURATED: (ramp() * 1e-9, 1.0),
        Blank.ALL_NEGATIVE: (ramp() - 3, 1.0),
        Blank.DEAD: (ramp() * 0, 0.0),
    }[cause]
    one = ClassMap(signed.astype(np.float32), activation_peak)
    blank = Cell(one, Scale.from_map(one), IMAGE, EACH_PIXEL)
    assert blank.blank_cause is cause
    return blank


@given(maps)
def test_equation_3_is_the_papers(signed):
    one = result(signed)
    ours = normalize_to_scale(one.values, Scale.from_map(one))
    relu = np.maximum(signed.astype(np.float64), 0)
    extent = relu.max() - relu.min()
    theirs = (relu - relu.min()) / extent if extent > 0 else np.zeros_like(relu)
    assert not np.isnan(ours).any()
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, -2.0, 5.0])
def test_a_map_of_one_value_is_drawn_as_zeros(value):
    one = result(np.full((3, 3), value))
    assert normalize_to_scale(one.values, Scale.from_map(one)).tolist() == [[0.0] * 3] * 3


@settings(deadline=None)
@example(np.full((4, 4), 4, "float32"), 0.0, float(np.finfo("float32").tiny))
@given(maps, st.floats(-10, 10, width=32), st.floats(0, 10, width=32))
def test_a_shared_scale_clips_what_lies_outside(signed, minimum, peak):
    drawn = normalize_to_scale(result(signed).values, Scale(minimum, peak))
    assert not np.isnan(drawn).any()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    low = max(0.0, minimum)
    if peak > low:
        assert (drawn[signed >= peak] == 1).all()
        assert (drawn[signed <= low] == 0).all()


def test_a_shared_scale_lets_a_weak_map_look_weak():
    strong, weak = ramp(), ramp() / 4
    shared = Scale.from_map(result(strong))
    assert cell_levels(cell(strong, shared), Style.GRAY, SIDE).max() == 255
    assert cell_levels(cell(weak, shared), Style.GRAY, SIDE).max() == 64
    assert cell_levels(cell(weak), Style.GRAY, SIDE).max() == 255


def test_levels_are_equation_3_in_256_steps():
    drawn = cell_levels(cell(ramp()), Style.GRAY, SIDE)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, np.rint(np.maximum(ramp(), 0) / 3 * 255))


def test_a_map_grows_bilinearly_between_its_places():
    # Four positions on pixels 4, 9, 14 and 19 of 24.
    signed = np.arange(16.0).reshape(4, 4)
    one = result(signed)
    drawn = cell_levels(Cell(one, Scale.from_map(one), IMAGE, Placement(4, 5)), Style.GRAY, SIDE)
    assert drawn[4::5, 4::5].tolist() == np.rint(signed / 15 * 255).tolist()
    along, down = drawn[4, 4:20], drawn[4:20, 4]
    assert np.abs(along - np.interp(range(16), range(0, 16, 5), [0, 1, 2, 3]) * 17).max() <= 1
    assert np.abs(down - np.interp(range(16), range(0, 16, 5), [0, 4, 8, 12]) * 17).max() <= 1


def test_a_map_fades_out_beyond_its_outermost_places():
    one = result(np.ones((4, 4)))
    drawn = cell_levels(Cell(one, Scale(0, 1), IMAGE, Placement(6, 4)), Style.GRAY, SIDE).astype(
        int
    )
    assert (drawn[6:19, 6:19] == 255).all()  # pixels 6, 10, 14 and 18, and between them
    assert np.abs(drawn[10, :7] - np.array([0, 0, 0, 64, 128, 191, 255])).max() <= 1
    assert np.array_equal(drawn[:, :], drawn.T)
    assert not drawn[:3].any()
    assert not drawn[22:].any()


@pytest.mark.parametrize("size", [16, 24, 48, 100])
def test_a_spot_is_drawn_where_its_pixel_lies_at_any_size(size):
    signed = np.zeros((SIDE, SIDE))
    signed[5, 18] = 1
    drawn = cell_levels(cell(signed), Style.GRAY, size).astype(float)
    ys, xs = np.mgrid[:size, :size]
    center = [(at * drawn).sum() / drawn.sum() for at in (ys, xs)]
    expected = [(pixel + 0.5) * size / SIDE - 0.5 for pixel in (5, 18)]
    assert center == pytest.approx(expected, abs=0.5)


def test_gray_and_heatmap_are_the_levels_in_their_colors():
    drawn = cell_levels(cell(ramp()), Style.GRAY, SIDE)
    gray = cell_rgb(cell(ramp()), Style.GRAY, "jet", SIDE)
    heat = cell_rgb(cell(ramp()), Style.HEATMAP, "viridis", SIDE)
    assert np.array_equal(gray, np.stack([drawn] * 3, axis=2))
    assert np.array_equal(heat, color_table("viridis")[drawn])


def test_an_overlay_is_half_heat_and_half_image():
    heat = cell_rgb(cell(ramp()), Style.HEATMAP, "jet", SIDE).astype(float)
    image = image_rgb(IMAGE, SIDE).astype(float)
    overlay = cell_rgb(cell(ramp()), Style.OVERLAY, "jet", SIDE)
    assert np.abs(overlay - (heat + image) / 2).max() <= 1


@pytest.mark.parametrize("cause", CAUSES)
def test_a_blank_overlay_is_its_image_under_stripes(cause):
    drawn = cell_rgb(blank_cell(cause), Style.OVERLAY, "jet", 64)
    striped = (drawn == HATCH).all(axis=2)
    assert 0.05 < striped.mean() < 0.5
    assert np.array_equal(drawn[~striped], (image_rgb(IMAGE, 64) // 2 + 24)[~striped])


def test_stripes_differ_by_cause():
    drawn = [cell_rgb(blank_cell(cause), Style.OVERLAY, "jet", 32) for cause in CAUSES]
    for one, other in itertools.combinations(drawn, 2):
        assert not np.array_equal(one, other)


def test_saturated_stripes_rise_and_all_negative_ones_fall():
    def stripes(cause: Blank) -> np.ndarray:
        return (hatch(np.zeros((32, 32, 3), np.uint8), cause) == HATCH).all(axis=2)

    rising, falling = stripes(Blank.SATURATED), stripes(Blank.ALL_NEGATIVE)
    assert np.array_equal(rising[1:, :-1], rising[:-1, 1:])  # one down, one to the left
    assert np.array_equal(falling[1:, 1:], falling[:-1, :-1])
    assert not np.array_equal(rising, falling)
    assert np.array_equal(stripes(Blank.DEAD), rising | falling)
    level = stripes(Blank.NOT_FINITE)
    assert np.array_equal(level[:, 1:], level[:, :-1])
    assert level.any()
    assert not level.all()


@pytest.mark.parametrize("style", list(Style))
def test_a_map_that_is_not_finite_is_hatched_in_every_style(style):
    result = ClassMap(np.array([[1, np.nan], [0, 1]], np.float32), 1.0)
    cell = Cell(result, Scale(-1, 1), IMAGE, EACH_PIXEL)
    expected = hatch(image_rgb(IMAGE, SIDE), Blank.NOT_FINITE)
    assert np.array_equal(cell_rgb(cell, style, "jet", SIDE), expected)


def test_the_largest_floats_are_drawn_in_the_signed_style():
    most = np.finfo(np.float32).max
    result = ClassMap(
        np.array([[most, -most]], np.float32).repeat(SIDE // 2, 1).repeat(SIDE, 0), 1.0
    )
    drawn = cell_levels(Cell(result, Scale.from_map(result), IMAGE, EACH_PIXEL), Style.SIGNED, SIDE)
    assert drawn[1:-1, 1].min() > 250
    assert drawn[1:-1, -2].max() < 5


@pytest.mark.parametrize("style", [Style.HEATMAP, Style.GRAY])
@pytest.mark.parametrize("cause", CAUSES)
def test_a_blank_map_is_drawn_as_zeros(style, cause):
    assert not cell_levels(blank_cell(cause), style, SIDE).any()


def test_signed_colors_have_0_in_the_middle_of_the_table():
    signed = ramp()
    signed[12, :3] = 0
    drawn = cell_levels(cell(signed), Style.SIGNED, SIDE).astype(int)
    assert set(drawn[12, :3]) <= {127, 128}
    assert drawn.max() == 255
    assert drawn.min() == round(127.5 - 127.5 / 3)  # -1 on a scale of 3 to either side


@settings(deadline=None)
@given(arrays("float32", (SIDE, SIDE), elements=st.floats(-100, 100, width=32)))
def test_signed_colors_treat_both_signs_alike(signed):
    ours, theirs = (
        cell_levels(cell(values), Style.SIGNED, SIDE).astype(int) for values in (signed, -signed)
    )
    assert np.abs(ours + theirs - 255).max() <= 1
    assert (ours[signed > 0] >= 127).all()
    assert (ours[signed < 0] <= 128).all()


def test_a_signed_map_of_zeros_is_the_middle_color():
    drawn = cell_levels(cell(np.zeros((SIDE, SIDE))), Style.SIGNED, 16)
    assert set(drawn.ravel()) <= {127, 128}


@pytest.mark.parametrize("size", [16, 28, 56, 224])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_picture_keeps_its_pixels_sharp_when_it_grows(depth, size):
    image = torch.randint(0, 256, (depth, 28, 28)).to(torch.uint8)
    drawn = image_rgb(image, size)
    assert drawn.shape == (size, size, 3)
    assert drawn.dtype == np.uint8
    if size >= 28:
        times = size // 28
        theirs = image.numpy().repeat(times, 1).repeat(times, 2).transpose(1, 2, 0)
        assert np.array_equal(drawn, np.broadcast_to(theirs, (size, size, 3)))


def test_a_picture_that_shrinks_keeps_its_mean():
    image = torch.randint(0, 256, (1, 64, 64)).to(torch.uint8)
    assert image_rgb(image, 16).mean() == pytest.approx(image.float().mean().item(), abs=2)


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("drawn", [cell(ramp()), blank_cell(Blank.ALL_NEGATIVE)], ids=["", "blank"])
def test_a_maps_png_holds_its_colors(style, drawn):
    with Image.open(io.BytesIO(render_map(drawn, style, "turbo", 40))) as image:
        modes = {Style.OVERLAY: "RGB", Style.GRAY: "L", Style.HEATMAP: "P", Style.SIGNED: "P"}
        assert image.mode == modes[style]
        assert image.size == (40, 40)
        theirs = np.asarray(image.convert("RGB"))
    assert np.array_equal(theirs, cell_rgb(drawn, style, "turbo", 40))
