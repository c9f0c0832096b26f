"""Color tables equal matplotlib's."""

import matplotlib as mpl
import numpy as np
import pytest

from service.core.render.colormaps import (
    COLORMAPS,
    DIVERGING_DEFAULT,
    SEQUENTIAL_DEFAULT,
    color_table,
)
from service.errors import UnknownName


@pytest.mark.parametrize("name", COLORMAPS)
def test_color_table_equals_matplotlib(name):
    ours = color_table(name)
    theirs = mpl.colormaps[name](np.arange(256))[:, :3] * 255
    assert ours.shape == (256, 3)
    assert ours.dtype == np.uint8
    assert np.abs(ours - theirs).max() <= 1


def test_defaults_have_the_matching_category():
    assert COLORMAPS[SEQUENTIAL_DEFAULT].category == "sequential"
    assert COLORMAPS[DIVERGING_DEFAULT].category == "diverging"


def test_diverging_colormaps_are_lightest_in_the_middle():
    for name, colormap in COLORMAPS.items():
        if colormap.category == "diverging":
            table = color_table(name).astype(int)
            assert table[127:129].sum(1).min() >= table.sum(1).max() - 20


@pytest.mark.parametrize("name", ["Jet", "rainbow", "", "jet_r", "matlab:jet"])
def test_unknown_colormap_is_refused_with_the_available_ones(name):
    with pytest.raises(UnknownName, match="one of viridis, cividis, plasma") as refusal:
        color_table(name)
    assert refusal.value.field == "colormap"
    assert refusal.value.allowed == {"enum": list(COLORMAPS)}
