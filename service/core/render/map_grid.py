"""Grids of signed maps in diverging colors: exchange maps and class-mean maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from service.core.png import encode_png
from service.core.render.colormaps import DIVERGING_DEFAULT, color_table
from service.core.render.text import FAINT, INK, MARGIN, PAPER, font, text_height, text_width

Maps = npt.NDArray[np.float32]

CELL_PIXELS = 96
GAP = 6
UNDERLAY_STRENGTH = 0.35


@dataclass(frozen=True)
class MapCell:
    """A signed map (h, w), the value that has the full color, and an image (H, W), 0..1, below."""

    values: Maps
    scale: float
    caption: str = ""
    underlay: Maps | None = None


def render_map_grid(
    rows: Sequence[Sequence[MapCell]],
    title: str,
    footer: str,
    *,
    row_heads: Sequence[str] = (),
    column_heads: Sequence[str] = (),
) -> bytes:
    """PNG of a grid: positive values are red, negative ones blue, 0 is white.

    Captions stand above their cells, heads of columns above the first row.
    """
    text, bold = font(12), font(16)
    line = text_height(text) + 2
    head_pixels = max((text_width(text, head) for head in row_heads), default=0)
    x_cells = MARGIN + (head_pixels + 8 if row_heads else 0)
    y_cells = MARGIN + text_height(bold) + 8 + (line if column_heads else 0)
    caption_pixels = line if any(cell.caption for row in rows for cell in row) else 0
    captions = [cell.caption for row in rows for cell in row]
    widest = max((text_width(text, label) for label in (*captions, *column_heads)), default=0)
    step = max(CELL_PIXELS, min(widest, 2 * CELL_PIXELS)) + GAP
    row_step = CELL_PIXELS + caption_pixels + GAP
    columns = max(len(row) for row in rows)
    text_pixels = max(text_width(bold, title), text_width(text, footer))
    width = max(x_cells + columns * step, text_pixels + MARGIN) + MARGIN
    page = Image.new("RGB", (width, y_cells + len(rows) * row_step + line + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 2), title, INK, bold)
    for c, head in enumerate(column_heads):
        draw.text((x_cells + c * step, y_cells - line), head, FAINT, text)
    for r, row in enumerate(rows):
        y = y_cells + r * row_step
        if row_heads:
            position = (MARGIN, y + caption_pixels + CELL_PIXELS / 2)
            draw.text(position, row_heads[r], INK, text, anchor="lm")
        for c, cell in enumerate(row):
            x = x_cells + c * step
            draw.text((x, y), cell.caption, INK, text)
            page.paste(_draw_cell(cell), (x, y + caption_pixels))
            corner = (x + CELL_PIXELS - 1, y + caption_pixels + CELL_PIXELS - 1)
            draw.rectangle([(x, y + caption_pixels), corner], outline=FAINT)
    draw.text((MARGIN, y_cells + len(rows) * row_step + 6), footer, FAINT, text)
    return encode_png(np.asarray(page))


def _draw_cell(cell: MapCell) -> Image.Image:
    scale = cell.scale if np.isfinite(cell.scale) and cell.scale > 0 else 1.0
    relative = np.nan_to_num(cell.values / scale).clip(-1, 1)
    levels = np.rint((relative + 1) * 127.5).astype(np.uint8)
    size = (CELL_PIXELS, CELL_PIXELS)
    colors = Image.fromarray(color_table(DIVERGING_DEFAULT)[levels])
    colors = colors.resize(size, Image.Resampling.NEAREST)
    if cell.underlay is None:
        return colors
    gray = Image.fromarray(np.rint(cell.underlay * 255).clip(0, 255).astype(np.uint8))
    shade = np.asarray(gray.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    dimmed = np.asarray(colors, np.float32) * (1 - UNDERLAY_STRENGTH * shade[..., None])
    return Image.fromarray(np.rint(dimmed).astype(np.uint8))
