"""Color tables by their matplotlib names, from the cmap library."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import cmap
import numpy as np
import numpy.typing as npt

from service.errors import UnknownName


class ColormapCategory(StrEnum):
    """How the colors of a table are ordered."""

    SEQUENTIAL = "sequential"
    DIVERGING = "diverging"


@dataclass(frozen=True)
class Colormap:
    """One entry of the table: its name in matplotlib and in cmap, and its use."""

    name: str
    source: str
    category: ColormapCategory
    description: str


_SEQUENTIAL, _DIVERGING = ColormapCategory.SEQUENTIAL, ColormapCategory.DIVERGING

COLORMAPS: dict[str, Colormap] = {
    colormap.name: colormap
    for colormap in (
        Colormap("viridis", "bids:viridis", _SEQUENTIAL, "Even steps; safe for the color-blind."),
        Colormap("cividis", "cividis:cividis", _SEQUENTIAL, "Made for the color-blind."),
        Colormap("plasma", "bids:plasma", _SEQUENTIAL, "Even steps, warm."),
        Colormap("inferno", "bids:inferno", _SEQUENTIAL, "Even steps, from black."),
        Colormap("magma", "bids:magma", _SEQUENTIAL, "Even steps, from black, muted."),
        Colormap("turbo", "google:turbo", _SEQUENTIAL, "Like jet, without its false edges."),
        Colormap("jet", "matlab:jet", _SEQUENTIAL, "The colors of most Grad-CAM papers."),
        Colormap("hot", "matlab:hot", _SEQUENTIAL, "Black, red, yellow, white."),
        Colormap("gray", "matlab:gray", _SEQUENTIAL, "Black to white."),
        Colormap("RdBu_r", "colorbrewer:RdBu_r", _DIVERGING, "Blue below 0, red above."),
        Colormap("coolwarm", "matplotlib:coolwarm", _DIVERGING, "Soft blue to red."),
        Colormap("seismic", "matplotlib:seismic", _DIVERGING, "Strong blue to red."),
    )
}

SEQUENTIAL_DEFAULT, DIVERGING_DEFAULT = "viridis", "RdBu_r"


@cache
def color_table(name: str) -> npt.NDArray[np.uint8]:
    """256 RGB colors (256, 3). Raises UnknownName."""
    if name not in COLORMAPS:
        raise UnknownName("colormap", name, COLORMAPS)
    table = np.asarray(cmap.Colormap(COLORMAPS[name].source).lut(256)[:, :3])
    levels: npt.NDArray[np.uint8] = np.rint(table * 255).astype(np.uint8)
    return levels
