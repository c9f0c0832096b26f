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


def render_side_by_side(panels: Sequence[Panel], title: str | None = None) -> bytes:
    """PNG of images of one height in a row, each above its caption, under an optional title."""
    text, bold = font(14), font(16)
    pictures = [Image.open(io.BytesIO(panel.png)).convert("RGB") for panel in panels]
    widths = [
        max(picture.width, text_width(text, panel.caption)) + MARGIN
        for picture, panel in zip(pictures, panels, strict=True)
    ]
    height = max(picture.height for picture in pictures)
    title_width = 0 if title is None else text_width(bold, title) + MARGIN
    y = MARGIN if title is None else MARGIN + text_height(bold) + 8
    page_width = max(sum(widths), title_width) + MARGIN
    page = Image.new("RGB", (page_width, y + height + 24 + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    if title is not None:
        draw.text((MARGIN, MARGIN - 2), title, INK, bold)
    x = MARGIN
    for picture, panel, width in zip(pictures, panels, widths, strict=True):
        page.paste(picture, (x + (width - MARGIN - picture.width) // 2, y))
        center = x + (width - MARGIN) / 2
        draw.text((center, y + height + 6), panel.caption, INK, text, anchor="ma")
        x += width
    return encode_png(np.asarray(page))
