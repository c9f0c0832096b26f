"""Maps quantized to 256 levels: the error is at most half a level, and 0 is exact."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from service.core.cams.maps import ClassMap
from service.core.models import Placement
from service.core.render.atlas import (
    MAX_SIDE,
    atlas_cell_placement,
    atlas_cell_size,
    atlas_levels,
    atlas_png,
    block_average,
    dequantize,
    quantize,
)

VALUES = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
MAPS = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=VALUES)


def levels_and_bounds(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    result = ClassMap(values, 1.0)
    return atlas_levels(result), result.minimum, result.peak


@given(MAPS)
def test_quantization_error_is_at_most_half_a_level(values: np.ndarray) -> None:
    levels, low, high = levels_and_bounds(values)
    exact = values.astype(np.float64)
    if low < 0 < high:
        step = np.where(exact > 0, high / 127, -low / 128)
    else:
        step = np.full(values.shape, (high - low) / 255)
    error = np.abs(dequantize(levels, low, high).astype(np.float64) - exact)
    # The last terms are float32's own rounding at its largest and smallest values.
    assert (error <= 0.5 * step + 1e-6 * max(high, -low) + 1e-44).all()


@given(MAPS)
def test_levels_are_monotonic_and_preserve_the_sign(values: np.ndarray) -> None:
    levels, low, high = levels_and_bounds(values)
    order = values.ravel().argsort(kind="stable")
    assert (np.diff(levels.ravel()[order].astype(int)) >= 0).all()
    if low < 0 < high:
        assert (levels[values == 0] == 128).all()
        assert (levels[values > 0] >= 128).all()
        assert (levels[values < 0] <= 128).all()
        assert levels[values == np.float32(high)].min() == 255
    if low < high:
        assert levels[values == np.float32(low)].max() == 0


@given(MAPS)
def test_quantizing_dequantized_values_gives_the_same_levels(values: np.ndarray) -> None:
    levels, low, high = levels_and_bounds(values)
    # If all values are far from 0, float32 distinguishes fewer values than there are levels.
    if high - low > 1e-3 * abs(low):
        again = quantize(dequantize(levels, low, high), low, high)
        np.testing.assert_array_equal(again, levels)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([-1.0, -0.5, 0.0, 0.5, 1.0], [0, 64, 128, 192, 255]),
        ([-1.0, 0.0, 127.0], [0, 128, 255]),
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([2.0, 3.0, 4.0], [0, 128, 255]),
        ([-4.0, -2.0, 0.0], [0, 128, 255]),
        ([-4.0, -2.0, -1.0], [0, 128, 191]),  # the peak of equation 2 is 0
        ([0.0, 0.0], [0, 0]),
        ([3.0, 3.0], [0, 0]),
        ([-3.0, -3.0], [0, 0]),
    ],
)
def test_levels_by_hand(values: list[float], levels: list[int]) -> None:
    assert atlas_levels(ClassMap(np.array([values], np.float32), 1.0)).tolist() == [levels]


@given(arrays(np.float32, st.tuples(st.integers(1, 140), st.integers(1, 140)), elements=st.just(3)))
def test_no_side_is_longer_than_that_of_a_cell(values: np.ndarray) -> None:
    small = block_average(values)
    assert small.shape == atlas_cell_size(*values.shape)
    assert max(small.shape) <= MAX_SIDE
    np.testing.assert_allclose(small, 3)
    if max(values.shape) <= MAX_SIDE:
        assert small.shape == values.shape


def test_large_map_is_averaged_over_blocks_placed_at_their_centers() -> None:
    values = np.arange(130 * 65, dtype=np.float32).reshape(130, 65)
    small = block_average(values)
    assert small.shape == (44, 22)
    assert small[1, 2] == pytest.approx(values[3:6, 6:9].mean())
    assert small[43, 21] == pytest.approx(values[129:, 63:].mean())
    # Positions 0, 1, 2 lie on pixels 2, 4, 6.
    assert atlas_cell_placement(Placement(2, 2), 130, 65) == Placement(4, 6)
    assert atlas_cell_placement(Placement(2, 2), 24, 24) == Placement(2, 2)


def test_atlas_has_one_row_per_map_and_one_column_per_epoch() -> None:
    levels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    page = Image.open(io.BytesIO(atlas_png(levels)))
    assert (page.mode, page.size) == ("L", (15, 8))
    pixels = np.asarray(page)
    for row in range(2):
        for column in range(3):
            cell = pixels[row * 4 : row * 4 + 4, column * 5 : column * 5 + 5]
            np.testing.assert_array_equal(cell, levels[row, column])
