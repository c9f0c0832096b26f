"""One map as a PNG."""

from service.core.render.cells import Cell, Style, colours, levels
from service.core.render.colormaps import colour_table
from service.core.render.png import encode_png


def map_png(cell: Cell, style: Style, colormap: str, size: int) -> bytes:
    """PNG of side `size`: RGB for overlays, grey or palette otherwise."""
    match style:
        case Style.OVERLAY:
            return encode_png(colours(cell, style, colormap, size))
        case Style.GRAY:
            return encode_png(levels(cell, style, size))
        case Style.HEATMAP | Style.SIGNED:
            return encode_png(levels(cell, style, size), palette=colour_table(colormap))
