"""The picture of a matrix: mean maps with a tint, a row per value and a column per epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from service.core.cams.maps import Floats
from service.core.cancellation import raise_if_cancelled
from service.core.png import encode_png
from service.core.render.cells import overlay_rgb
from service.core.render.colormaps import color_table
from service.core.render.text import FAINT, INK, MARGIN, PAPER, font, text_height, text_width

Bytes = npt.NDArray[np.uint8]

FRAME = 5  # width of the tint around a cell
GAP = 6
LEGEND_WIDTH, LEGEND_HEIGHT = 160, 12
UNTINTED = (232, 232, 236)


@dataclass(frozen=True)
class TintedMap:
    """A mean map (S, S) in 0..1 (None: none to show), its tint in 0..1, and the value in words."""

    mean: Floats | None
    tint: float | None
    caption: str


@dataclass(frozen=True)
class MatrixPage:
    """A matrix with all its text."""

    title: str
    footer: str
    row_heads: Sequence[str]
    column_heads: Sequence[str]
    cells: Sequence[Sequence[TintedMap]]
    image: Bytes  # RGB (S, S, 3), under the maps
    legend: tuple[str, str]  # at the lowest and the highest tint
    colormap: str
    tint_colormap: str


def render_matrix(page: MatrixPage, cell_pixels: int) -> bytes:
    """PNG of the matrix; a cell without a map is crossed out."""
    text, small, bold = font(14), font(12), font(18)
    step_x = cell_pixels + 2 * FRAME + GAP
    step_y = cell_pixels + 2 * FRAME + text_height(small) + GAP
    head_width = max((text_width(text, head) for head in page.row_heads), default=0) + 10
    x_cells, y_cells = MARGIN + head_width, MARGIN + 30 + text_height(text) + 4
    legend_width = LEGEND_WIDTH + sum(text_width(small, label) for label in page.legend) + 24
    text_pixels = max(text_width(bold, page.title), text_width(small, page.footer), legend_width)
    width = max(x_cells + step_x * len(page.column_heads), text_pixels + MARGIN) + MARGIN
    y_footer = y_cells + step_y * len(page.cells) + 8
    height = y_footer + LEGEND_HEIGHT + 10 + text_height(small) + MARGIN
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN - 2), page.title, INK, bold)
    for column, head in enumerate(page.column_heads):
        center = x_cells + column * step_x + FRAME + cell_pixels / 2
        draw.text((center, y_cells - 4), head, FAINT, small, anchor="md")
    for index, (head, row) in enumerate(zip(page.row_heads, page.cells, strict=True)):
        raise_if_cancelled()
        y = y_cells + index * step_y
        draw.text((MARGIN, y + FRAME + cell_pixels / 2), head, INK, text, anchor="lm")
        for column, cell in enumerate(row):
            _draw_cell(canvas, draw, page, cell, (x_cells + column * step_x, y), cell_pixels)
    _draw_legend(canvas, draw, page, y_footer)
    draw.text((MARGIN, y_footer + LEGEND_HEIGHT + 8), page.footer, FAINT, small)
    return encode_png(np.asarray(canvas))


def mean_map_rgb(mean: Floats, image: Bytes, colormap: str) -> Bytes:
    """A mean map (S, S) in 0..1 over an image RGB (S, S, 3), as RGB (S, S, 3)."""
    levels = np.rint(mean.clip(0, 1) * 255).astype(np.uint8)
    return overlay_rgb(levels, image, colormap, 0.9)


def _draw_cell(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    page: MatrixPage,
    cell: TintedMap,
    corner: tuple[int, int],
    pixels: int,
) -> None:
    x, y = corner
    outer = pixels + 2 * FRAME
    draw.rectangle((x, y, x + outer - 1, y + outer - 1), _tint(page, cell.tint))
    if cell.mean is None:
        draw.rectangle((x + FRAME, y + FRAME, x + outer - FRAME - 1, y + outer - FRAME - 1), PAPER)
        draw.line((x + FRAME, y + FRAME, x + outer - FRAME, y + outer - FRAME), FAINT)
    else:
        rgb = Image.fromarray(mean_map_rgb(cell.mean, page.image, page.colormap))
        canvas.paste(
            rgb.resize((pixels, pixels), Image.Resampling.BILINEAR), (x + FRAME, y + FRAME)
        )
    draw.text((x + outer / 2, y + outer + 1), cell.caption, INK, font(12), anchor="ma")


def _draw_legend(canvas: Image.Image, draw: ImageDraw.ImageDraw, page: MatrixPage, y: int) -> None:
    small = font(12)
    low, high = page.legend
    draw.text((MARGIN, y - 1), low, INK, small)
    x = MARGIN + text_width(small, low) + 8
    ramp = np.linspace(0, 255, LEGEND_WIDTH).astype(np.uint8)
    colors = color_table(page.tint_colormap)[np.tile(ramp, (LEGEND_HEIGHT, 1))]
    canvas.paste(Image.fromarray(colors), (x, y))
    draw.text((x + LEGEND_WIDTH + 8, y - 1), high, INK, small)


def _tint(page: MatrixPage, tint: float | None) -> tuple[int, int, int]:
    if tint is None:
        return UNTINTED
    red, green, blue = color_table(page.tint_colormap)[round(min(1.0, max(0.0, tint)) * 255)]
    return int(red), int(green), int(blue)
