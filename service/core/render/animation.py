"""Animations of one frame per epoch: the maps of several methods, and the accuracy below them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

from service.core.cams.maps import Blank
from service.core.cancellation import raise_if_cancelled
from service.core.render.cells import Cell
from service.core.render.palette import CURVE_COLORS, TEST, TRAINING
from service.core.render.sheet import CellStyle, draw_cell, row_pixels
from service.core.render.text import FAINT, INK, MARGIN, PAPER, font, text_height, text_width

FRAME_MILLISECONDS = 150
LAST_FRAME_MILLISECONDS = 1500
CELL_GAP = 12
CURVE_PIXELS = 70  # height of the plot of accuracies
MIN_CURVE_WIDTH = 200
MARKER = (180, 65, 11)  # of the frame's epoch, as on the page
RULE = (215, 215, 220)

ANIMATIONS: dict[str, dict[str, Any]] = {
    "webp": {"format": "WEBP", "quality": 80, "method": 0},
    "gif": {"format": "GIF", "optimize": False},
}


@dataclass(frozen=True)
class AccuracyCurves:
    """Accuracies 0..1 of each frame's epoch; None where there is none, as before training."""

    epochs: Sequence[int]
    test: Sequence[float | None]
    training: Sequence[float | None]


def render_animation(
    rows: Mapping[str, Sequence[Cell]],
    captions: Sequence[str],
    look: CellStyle,
    file_format: str,
    accuracy: AccuracyCurves | None = None,
) -> bytes:
    """An endless animation, `webp` or `gif`, of each method's cells, with a longer last frame."""
    frames = render_frames(rows, captions, look, accuracy)
    times = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    for frame in frames:
        # Pillow calls `seek` before it encodes a frame.
        frame.seek = _checked_seek  # type: ignore[method-assign]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        save_all=True,
        append_images=frames[1:],
        duration=times,
        loop=0,
        **ANIMATIONS[file_format],
    )
    return buffer.getvalue()


def render_frames(
    rows: Mapping[str, Sequence[Cell]],
    captions: Sequence[str],
    look: CellStyle,
    accuracy: AccuracyCurves | None = None,
) -> list[Image.Image]:
    """The frames, all of one size: the methods' cells side by side, each below its name."""
    size = look.cell_pixels
    text, small = font(max(14, size // 14)), font(max(11, size // 18))
    pitch = max(size, *(text_width(small, name) for name in rows)) + CELL_GAP
    inner = max(pitch * len(rows) - CELL_GAP, *(text_width(text, label) for label in captions))
    inner = max(inner, MIN_CURVE_WIDTH if accuracy else 0)
    y_cells = MARGIN + text_height(text) + text_height(small) + 6
    y_curve = y_cells + row_pixels(look) + text_height(small) + 8
    height = y_curve + (CURVE_PIXELS + text_height(small) + 4 if accuracy else 0) + MARGIN
    background = Image.new("RGB", (inner + 2 * MARGIN, height), PAPER)
    plot = (MARGIN, y_curve + text_height(small) + 4, MARGIN + inner - 1, height - MARGIN - 1)
    if accuracy:
        _draw_curves(ImageDraw.Draw(background), accuracy, plot)
    frames = []
    for i, caption in enumerate(captions):
        raise_if_cancelled()
        page = background.copy()
        draw = ImageDraw.Draw(page)
        draw.text((MARGIN, MARGIN - 2), caption, INK, text)
        for column, (name, cells) in enumerate(rows.items()):
            x = MARGIN + column * pitch
            draw.text((x, y_cells - 4), name, FAINT, small, anchor="ld")
            draw_cell(page, draw, cells[i], look, x, y_cells)
            draw.text((x, y_cells + row_pixels(look)), _describe(cells[i]), FAINT, small)
        if accuracy:
            _draw_epoch(draw, accuracy, i, plot, small)
        frames.append(page)
    return frames


def _describe(cell: Cell) -> str:
    if cell.blank_cause is not Blank.NONE:
        return f"blank: {cell.blank_cause.value}"
    return f"peak {cell.class_map.peak:.2g}"


Box = tuple[int, int, int, int]


def _x(accuracy: AccuracyCurves, i: int, box: Box) -> float:
    first, last = accuracy.epochs[0], accuracy.epochs[-1]
    share = (accuracy.epochs[i] - first) / (last - first) if last > first else 0.5
    return box[0] + share * (box[2] - box[0])


def _draw_curves(draw: ImageDraw.ImageDraw, accuracy: AccuracyCurves, box: Box) -> None:
    """The accuracies from 0 at the bottom of the box to 1 at its top."""
    draw.rectangle(box, outline=RULE)
    curves = {TRAINING: accuracy.training, TEST: accuracy.test}  # test above training
    for color, values in curves.items():
        points = [
            (_x(accuracy, i, box), box[3] - value * (box[3] - box[1]))
            for i, value in enumerate(values)
            if value is not None
        ]
        draw.line(points, CURVE_COLORS["light"][color], 2)


def _draw_epoch(
    draw: ImageDraw.ImageDraw, accuracy: AccuracyCurves, i: int, box: Box, text: Any
) -> None:
    """The marker of a frame's epoch, and its accuracies as text above the box."""
    x = _x(accuracy, i, box)
    draw.line([(x, box[1]), (x, box[3])], MARKER, 2)
    left = box[0]
    for name, color, values in (
        ("test", TEST, accuracy.test),
        ("training", TRAINING, accuracy.training),
    ):
        value = values[i]
        label = f"{name} {value:.1%}" if value is not None else f"{name} -"
        draw.text((left, box[1] - 4), label, CURVE_COLORS["light"][color], text, anchor="ld")
        left += text_width(text, f"{name} 100.0%") + CELL_GAP


def _checked_seek(frame: int) -> None:
    """`seek` of a single-frame image. Raises RequestCancelled."""
    raise_if_cancelled()
    if frame != 0:
        raise EOFError
