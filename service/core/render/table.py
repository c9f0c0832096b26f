"""Tables of text and rows of images as PNG, for the command `paper`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from service.core.png import encode_png
from service.core.render.text import FAINT, INK, MARGIN, PAPER, font, text_height, text_width

RULE = (215, 215, 220)
PADDING = 14


def render_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """PNG of a table: the first column left-aligned, the others right-aligned."""
    text, bold = font(15), font(18)
    line = text_height(text) + 8
    widths = [
        max(text_width(text, row[i]) for row in (heads, *rows)) + 2 * PADDING
        for i in range(len(heads))
    ]
    width = max(sum(widths), text_width(bold, title)) + 2 * MARGIN
    page = Image.new("RGB", (width, 2 * MARGIN + 34 + line * (len(rows) + 1)), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), title, INK, bold)
    for r, row in enumerate((heads, *rows)):
        y = MARGIN + 34 + r * line
        x = MARGIN
        for i, label in enumerate(row):
            ink = FAINT if r == 0 else INK
            position = (x + PADDING, y) if i == 0 else (x + widths[i] - PADDING, y)
            draw.text(position, label, ink, text, anchor="la" if i == 0 else "ra")
            x += widths[i]
        draw.line([(MARGIN, y + line - 5), (x, y + line - 5)], RULE)
    return encode_png(np.asarray(page))


@dataclass(frozen=True)
class Panel:
    """An image as PNG, and its caption."""

    png: bytes
    caption: str


def render_side_by_side(panels: Sequence[Panel]) -> bytes:
    """PNG of images of one height in a row, each above its caption."""
    text = font(14)
    pictures = [Image.open(io.BytesIO(panel.png)).convert("RGB") for panel in panels]
    widths = [
        max(picture.width, text_width(text, panel.caption)) + MARGIN
        for picture, panel in zip(pictures, panels, strict=True)
    ]
    height = max(picture.height for picture in pictures)
    page = Image.new("RGB", (sum(widths) + MARGIN, height + 2 * MARGIN + 24), PAPER)
    draw = ImageDraw.Draw(page)
    x = MARGIN
    for picture, panel, width in zip(pictures, panels, widths, strict=True):
        page.paste(picture, (x + (width - MARGIN - picture.width) // 2, MARGIN))
        center = x + (width - MARGIN) / 2
        draw.text((center, MARGIN + height + 6), panel.caption, INK, text, anchor="ma")
        x += width
    return encode_png(np.asarray(page))
