"""One map as a PNG."""

from service.core.cams.maps import Blank
from service.core.png import encode_png
from service.core.render import DEFAULT_OPACITY
from service.core.render.cells import Cell, Style, cell_levels, cell_rgb
from service.core.render.colormaps import color_table


def render_map(
    cell: Cell, style: Style, colormap: str, size: int, *, opacity: float = DEFAULT_OPACITY
) -> bytes:
    """PNG of side `size`: RGB for overlays and hatched maps, gray or palette otherwise."""
    if cell.blank_cause is Blank.NOT_FINITE:
        return encode_png(cell_rgb(cell, style, colormap, size))
    match style:
        case Style.OVERLAY:
            return encode_png(cell_rgb(cell, style, colormap, size, opacity=opacity))
        case Style.GRAY:
            return encode_png(cell_levels(cell, style, size))
        case Style.HEATMAP | Style.SIGNED:
            return encode_png(cell_levels(cell, style, size), palette=color_table(colormap))
