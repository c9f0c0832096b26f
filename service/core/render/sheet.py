"""Contact sheets and strips: many cells on one page, with labels and a legend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from service.core.cams.maps import Blank
from service.core.cancellation import raise_if_cancelled
from service.core.png import encode_png
from service.core.render import DEFAULT_OPACITY
from service.core.render.cells import Cell, Style, cell_rgb, hatch, image_rgb
from service.core.render.strength import bar_height, draw_bar
from service.core.render.text import (
    FAINT,
    INK,
    MARGIN,
    PAPER,
    font,
    text_height,
    text_width,
    wrap_clauses,
)

Bytes = npt.NDArray[np.uint8]

GAP = 2
BAR_GAP = 1  # between a cell and its strength bar
LEGEND_PIXELS = 44  # swatch and margins beside a cause's name
STRIP_WIDTH_PIXELS = 2400  # strips wrap into rows beyond it


@dataclass(frozen=True)
class CellStyle:
    """How all cells of a page are drawn."""

    style: Style
    colormap: str
    cell_pixels: int
    opacity: float = DEFAULT_OPACITY  # at the top of the scale; of overlays alone

    def cell_rgb(self, cell: Cell) -> Bytes:
        """The cell in RGB (cell_pixels, cell_pixels, 3)."""
        return cell_rgb(cell, self.style, self.colormap, self.cell_pixels, opacity=self.opacity)


def render_contact_sheet(
    rows: Sequence[Sequence[Cell]],
    row_heads: Sequence[str],
    column_heads: Sequence[str],
    look: CellStyle,
    title: str,
    footer: str,
) -> bytes:
    """PNG as the paper's figures 6 and 7: a row per probe, after its image; a column per epoch."""
    size = look.cell_pixels
    step, row_step = size + GAP, row_pixels(look)
    text = font(max(10, min(20, size // 3)))
    head_pixels = max((text_width(text, head) for head in row_heads), default=0) + 8
    x_cells = MARGIN + head_pixels + step + 6
    y_cells = MARGIN + 30 + text_height(text) + 6
    causes = sorted({cell.blank_cause for row in rows for cell in row} - {Blank.NONE})
    legend = sum(LEGEND_PIXELS + text_width(font(14), cause.value) for cause in causes)
    text_pixels = max(text_width(font(18), title), text_width(font(14), footer) + 24 + legend)
    width = max(x_cells + step * len(column_heads) + MARGIN, text_pixels + 2 * MARGIN)
    height = y_cells + row_step * len(rows) + 34 + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 2), title, INK, font(18))
    _column_heads(draw, column_heads, x_cells, y_cells, step, text)
    for r, (head, cells) in enumerate(zip(row_heads, rows, strict=True)):
        raise_if_cancelled()
        y = y_cells + r * row_step
        draw.text((MARGIN, y + size / 2), head, INK, text, anchor="lm")
        _paste(page, image_rgb(cells[0].image, size), MARGIN + head_pixels, y)
        for c, cell in enumerate(cells):
            raise_if_cancelled()
            draw_cell(page, draw, cell, look, x_cells + c * step, y)
    _footer(page, draw, footer, causes, height - MARGIN - 18)
    return encode_png(np.asarray(page))


def render_strip(
    cells: Sequence[Cell], heads: Sequence[str], look: CellStyle, title: str, footer: str
) -> bytes:
    """PNG of one image's cells, each below its epoch, wrapped into rows."""
    size = look.cell_pixels
    step = size + GAP
    text = font(max(10, min(16, size // 4)))
    line = row_pixels(look) + text_height(text) + 4
    columns = max(1, min(len(cells), (STRIP_WIDTH_PIXELS - 2 * MARGIN) // step))
    lines = -(-len(cells) // columns)
    cells_width = max(columns * step, text_width(font(16), title))
    small = font(12)
    footer_lines = wrap_clauses(small, footer, cells_width)
    width = 2 * MARGIN + max(cells_width, *(text_width(small, label) for label in footer_lines))
    y_footer = MARGIN + 28 + lines * line + 6
    height = y_footer + len(footer_lines) * text_height(small) + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 2), title, INK, font(16))
    for i, (cell, head) in enumerate(zip(cells, heads, strict=True)):
        raise_if_cancelled()
        x, y = MARGIN + i % columns * step, MARGIN + 28 + i // columns * line
        if i % columns % _label_interval(text, heads, step) == 0:
            draw.text((x + size / 2, y), head, FAINT, text, anchor="ma")
        draw_cell(page, draw, cell, look, x, y + text_height(text) + 2)
    for i, footer_line in enumerate(footer_lines):
        draw.text((MARGIN, y_footer + i * text_height(small)), footer_line, FAINT, small)
    return encode_png(np.asarray(page))


def row_pixels(look: CellStyle) -> int:
    """Pixels from one row of cells with strength bars to the next."""
    return look.cell_pixels + BAR_GAP + bar_height(look.cell_pixels) + GAP


def draw_cell(
    page: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, look: CellStyle, x: int, y: int
) -> None:
    """Draw the cell at (x, y), and its strength bar below."""
    size = look.cell_pixels
    _paste(page, look.cell_rgb(cell), x, y)
    draw_bar(draw, cell.class_map, x, y + size + BAR_GAP, size, bar_height(size))


def _column_heads(
    draw: ImageDraw.ImageDraw,
    heads: Sequence[str],
    x_cells: int,
    y_cells: int,
    step: int,
    text: ImageFont.FreeTypeFont,
) -> None:
    interval = _label_interval(text, heads, step)
    for c in range(0, len(heads), interval):
        draw.text((x_cells + c * step + step / 2, y_cells - 4), heads[c], FAINT, text, anchor="md")


def _footer(
    page: Image.Image, draw: ImageDraw.ImageDraw, footer: str, causes: Sequence[Blank], y: int
) -> None:
    text = font(14)
    draw.text((MARGIN, y), footer, INK, text)
    x = MARGIN + text_width(text, footer) + 24
    for cause in causes:
        _paste(page, hatch(np.zeros((18, 18, 3), np.uint8), cause), x, y)
        draw.text((x + 24, y), cause.value, INK, text)
        x += LEGEND_PIXELS + text_width(text, cause.value)


def _label_interval(text: ImageFont.FreeTypeFont, heads: Sequence[str], step: int) -> int:
    """The interval of labeled columns, so that labels do not overlap."""
    widest = max((text_width(text, head) for head in heads), default=0) + 4
    return max(1, -(-widest // step))


def _paste(page: Image.Image, cell: Bytes, x: int, y: int) -> None:
    page.paste(Image.fromarray(cell), (x, y))
