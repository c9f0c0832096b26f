"""Colour tables by their matplotlib names, as the cmap library has them."""

from dataclasses import dataclass
from functools import cache

import cmap
import numpy as np
import numpy.typing as npt

from service.errors import UnknownName


@dataclass(frozen=True)
class Colormap:
    """One line of the table: its name in matplotlib, in cmap, and what it is for."""

    name: str
    source: str
    kind: str  # sequential or diverging
    description: str


COLORMAPS: dict[str, Colormap] = {
    colormap.name: colormap
    for colormap in (
        Colormap("jet", "matlab:jet", "sequential", "The colours of most Grad-CAM papers."),
        Colormap("turbo", "google:turbo", "sequential", "Like jet, without its false edges."),
        Colormap("viridis", "bids:viridis", "sequential", "Even steps; safe for the colour-blind."),
        Colormap("cividis", "cividis:cividis", "sequential", "Made for the colour-blind."),
        Colormap("plasma", "bids:plasma", "sequential", "Even steps, warm."),
        Colormap("inferno", "bids:inferno", "sequential", "Even steps, from black."),
        Colormap("magma", "bids:magma", "sequential", "Even steps, from black, muted."),
        Colormap("hot", "matlab:hot", "sequential", "Black, red, yellow, white."),
        Colormap("gray", "matlab:gray", "sequential", "Black to white."),
        Colormap("RdBu_r", "colorbrewer:RdBu_r", "diverging", "Blue below 0, red above."),
        Colormap("coolwarm", "matplotlib:coolwarm", "diverging", "Soft blue to red."),
        Colormap("seismic", "matplotlib:seismic", "diverging", "Strong blue to red."),
    )
}

SEQUENTIAL_DEFAULT, DIVERGING_DEFAULT = "jet", "RdBu_r"


@cache
def color_table(name: str) -> npt.NDArray[np.uint8]:
    """256 RGB colours (256, 3). Raises UnknownName."""
    if name not in COLORMAPS:
        raise UnknownName("colormap", name, COLORMAPS)
    table = np.asarray(cmap.Colormap(COLORMAPS[name].source).lut(256)[:, :3])
    levels: npt.NDArray[np.uint8] = np.rint(table * 255).astype(np.uint8)
    return levels
